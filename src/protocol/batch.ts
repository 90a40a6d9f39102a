import { z } from 'zod';
import {
  AcquireFields,
  batchRankNeedsBatch,
  BreakBody,
  CancelBody,
  modeFitsQueues,
  onlyOneIsLatest,
  rankFitsBatch,
  ReleaseBody,
  RenewBody,
} from './claims.ts';
import { ClaimId, QueueName } from './ids.ts';
import { EnqueueBody } from './runs.ts';

export const operationsPerBatchMax = 1000;

const ofQueue = { queue: QueueName };
const ofClaim = { queue: QueueName, claim_id: ClaimId };
const noWait = z
  .never('operations of a batch do not wait: leave wait_ms out, and wait with a call of its own')
  .optional()
  .meta({ description: 'Refused: operations of a batch do not wait.' });

/** What a batch may hold, by `op`: the names a single call has in its path and the fields of its body, in one object. */
export const batchOperations = {
  acquire: AcquireFields.extend({ op: z.literal('acquire'), ...ofQueue, wait_ms: noWait })
    .refine(rankFitsBatch, batchRankNeedsBatch)
    .refine(modeFitsQueues, onlyOneIsLatest),
  get: z.strictObject({ op: z.literal('get'), ...ofClaim, wait_ms: noWait }),
  renew: RenewBody.extend({ op: z.literal('renew'), ...ofClaim }),
  release: ReleaseBody.safeExtend({ op: z.literal('release'), ...ofClaim }),
  cancel: CancelBody.extend({ op: z.literal('cancel'), ...ofClaim }),
  break: BreakBody.extend({ op: z.literal('break'), ...ofClaim }),
  enqueue: EnqueueBody.safeExtend({ op: z.literal('enqueue'), ...ofQueue }),
};
export type BatchOp = keyof typeof batchOperations;

/** Checked one by one, each by the schema of its `op`: what is wrong with one is no fault of its neighbours. */
export const BatchElement = z.unknown();
export const BatchBody = z.strictObject({ operations: z.array(BatchElement).min(1).max(operationsPerBatchMax) });

/** What the single call would have answered: its body, or its problem document. */
export const BatchElementAnswer = z.unknown();
export const BatchAnswer = z.object({
  results: z.array(
    z.object({
      status: z.int().min(200).max(599).meta({ description: 'What the single call would have answered.' }),
      body: BatchElementAnswer,
    }),
  ),
});
