import { z } from 'zod';
import { QueuePrefix } from './access.ts';
import {
  DelayMs,
  HeldClaim,
  Labels,
  Priority,
  RenewedLease,
  TtlMs,
  WaitMs,
  batchFields,
  batchRankNeedsBatch,
  delayMsMax,
  endingFields,
  fieldsOfRetry,
  fieldsFitOutcome,
  rankFitsBatch,
} from './claims.ts';
import { ClaimId, FencingToken, HolderId, QueueName, plainText } from './ids.ts';

/** A payload's JSON text, in bytes of UTF-8. */
export const payloadBytesMax = 262_144;
/** What the payloads of one answer may come to, in bytes; one claim is always given. */
export const payloadBytesPerAnswerMax = 4_194_304;
export const claimsPerCallMax = 1000;
export const maxAttemptsMax = 1000;

export const MaxAttempts = z
  .int()
  .min(1)
  .max(maxAttemptsMax)
  .meta({ description: 'Grants after which a run that did not end is dead.' });
export const MaxAgeMs = z
  .int()
  .min(1000)
  .max(delayMsMax)
  .meta({ description: 'A run not ended so long after its enqueue is dead.' });
// Not z.json(): nobody here looks into a payload, and a number too large for JavaScript is a good one too.
export const Payload = z
  .unknown()
  .meta({ description: `Any JSON value up to ${payloadBytesMax} bytes; the taker gets it byte for byte.` });

export const EnqueueBody = z
  .strictObject({
    claim_id: ClaimId.optional(),
    priority: Priority.default(0),
    payload: Payload.optional(),
    labels: Labels.default({}),
    delay_ms: DelayMs.default(0).meta({ description: 'Not to be taken before so much time has passed, in ms.' }),
    max_attempts: MaxAttempts.optional(),
    max_age_ms: MaxAgeMs.optional(),
    ...batchFields,
  })
  .refine(rankFitsBatch, batchRankNeedsBatch)
  .refine(
    ({ delay_ms: delayMs, max_age_ms: maxAgeMs }) => maxAgeMs === undefined || maxAgeMs > delayMs,
    'max_age_ms must be longer than delay_ms, or the run is dead before it is due',
  );
export type EnqueueBody = z.infer<typeof EnqueueBody>;

const Instant = z.string().meta({ format: 'date-time', description: "By the database's clock." });

/** A run that nobody has taken. */
export const QueuedRun = z.object({
  claim_id: ClaimId,
  queue: QueueName,
  kind: z.literal('run'),
  state: z.enum(['waiting', 'delayed']),
  priority: z.int(),
  labels: z.record(z.string(), z.string()),
  attempts: z.int().meta({ description: 'Grants so far.' }),
  max_attempts: z.int(),
  enqueued_at: Instant,
  due_at: Instant.nullable().meta({ description: 'Not before this time; null unless delayed.' }),
});
export type QueuedRun = z.infer<typeof QueuedRun>;

export const TakeBody = z
  .strictObject({
    holder: HolderId,
    queue: QueueName.optional(),
    prefix: QueuePrefix.optional().meta({ description: "From any queue whose name begins so; '' = any." }),
    max: z.int().min(1).max(claimsPerCallMax).default(1),
    ttl_ms: TtlMs.optional(),
    wait_ms: WaitMs.default(0),
    request_id: ClaimId.optional().meta({
      description: 'The same holder and request_id again within an hour: the same claims, those still held.',
    }),
  })
  .refine(({ queue, prefix }) => (queue === undefined) !== (prefix === undefined), 'name either queue or prefix');
export type TakeBody = z.infer<typeof TakeBody>;

export const TakenRun = HeldClaim.extend({ kind: z.literal('run'), max_attempts: z.int(), payload: Payload });
export type TakenRun = z.infer<typeof TakenRun>;
export const TakeAnswer = z.object({ claims: z.array(TakenRun) });

const LeaseName = z.strictObject({ queue: QueueName, claim_id: ClaimId, fencing_token: FencingToken });

/** What a holder reports of one lease. */
export const LeaseEnding = LeaseName.extend(endingFields).refine(fieldsFitOutcome, fieldsOfRetry);
export type LeaseEnding = z.infer<typeof LeaseEnding>;

export const RenewHeldBody = z.strictObject({
  claims: z.array(LeaseName).min(1).max(claimsPerCallMax).optional(),
  ttl_ms: TtlMs.optional(),
});
export type RenewHeldBody = z.infer<typeof RenewHeldBody>;

export const RenewHeldAnswer = z.object({
  claims: z.array(RenewedLease),
  lost: z.array(LeaseName.extend({ code: z.string(), reason: z.string().optional() })),
});
export type RenewHeldAnswer = z.infer<typeof RenewHeldAnswer>;

export const EndedState = z.enum(['released', 'waiting', 'delayed', 'dead', 'superseded']);
const named = { queue: QueueName, claim_id: ClaimId };
export const LeaseEnded = z.union([
  z.object({ ...named, released: z.literal(true), state: EndedState, due_at: Instant.optional() }),
  z.object({ ...named, released: z.literal(false), reason: z.string() }),
  z.object({ ...named, released: z.literal(false), code: z.string(), detail: z.string() }),
]);
export type LeaseEnded = z.infer<typeof LeaseEnded>;
export const ReleaseHeldBody = z.strictObject({ claims: z.array(LeaseEnding).min(1).max(claimsPerCallMax) });
export const ReleaseHeldAnswer = z.object({ results: z.array(LeaseEnded) });
export type ReleaseHeldAnswer = z.infer<typeof ReleaseHeldAnswer>;

/** Who acts, for the audit. */
export const Actor = plainText(200).meta({ description: 'Who acts, for the audit.' });
export const OperatorBody = z.strictObject({ actor: Actor, reason: plainText(1000).optional() });
export type OperatorBody = z.infer<typeof OperatorBody>;
