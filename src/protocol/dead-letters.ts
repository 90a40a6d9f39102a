import { z } from 'zod';
import { ClaimId, QueueName } from './ids.ts';
import { Actor, Payload, claimsPerCallMax } from './runs.ts';

const Instant = z.string().meta({ format: 'date-time', description: "By the database's clock." });

/** One grant of a claim that is over. */
export const Attempt = z.object({
  attempt: z.int().nullable(),
  holder: z.string(),
  fencing_token: z.int().nullable(),
  slot: z.int().nullable(),
  state: z.string(),
  reason: z.string(),
  outcome: z.string().nullable(),
  error: z.string().nullable(),
  acquired_at: Instant.nullable(),
  ended_at: Instant,
});

export const DeadLetter = z.object({
  queue: QueueName,
  claim_id: ClaimId,
  reason: z.enum(['max_attempts', 'max_age', 'failure', 'skipped']),
  outcome: z.string().nullable(),
  error: z.string().nullable(),
  holder: z.string(),
  attempts: z.int(),
  max_attempts: z.int(),
  priority: z.int(),
  labels: z.record(z.string(), z.string()),
  payload: Payload,
  enqueued_at: Instant,
  died_at: Instant,
  blocks: z.boolean().meta({ description: 'true: the line stands still behind it.' }),
  history: z.array(Attempt).meta({ description: 'Its newest 20 grants, the oldest first.' }),
});
export type DeadLetter = z.infer<typeof DeadLetter>;

const NextCursor = z
  .string()
  .nullable()
  .meta({ description: 'Goes into `cursor` for the next page; null = the last one.' });
export const DeadLetterPage = z.object({ dead_letters: z.array(DeadLetter), next_cursor: NextCursor });

/** Which dead letters of a queue: some, or all. */
export const DeadLettersBody = z
  .strictObject({
    claim_ids: z.array(ClaimId).min(1).max(claimsPerCallMax).optional(),
    all: z.literal(true).optional(),
    actor: Actor,
  })
  .refine(({ claim_ids: ids, all }) => (ids === undefined) !== (all === undefined), 'name either claim_ids or all');
export type DeadLettersBody = z.infer<typeof DeadLettersBody>;

export const RedriveAnswer = z.object({ redriven: z.int(), not_found: z.array(ClaimId) });
export type RedriveAnswer = z.infer<typeof RedriveAnswer>;
export const PurgeAnswer = z.object({ purged: z.int(), not_found: z.array(ClaimId) });
export type PurgeAnswer = z.infer<typeof PurgeAnswer>;

export const BlockedQueue = z.object({
  queue: QueueName,
  on_failure: z.enum(['wait', 'step_around', 'stop']),
  since: Instant,
  waiting: z.int(),
  delayed: z.int(),
  blocked_by: z
    .array(
      z.object({
        claim_id: ClaimId,
        state: z.enum(['delayed', 'dead']),
        reason: z.string(),
        attempts: z.int(),
        error: z.string().nullable(),
        due_at: Instant.nullable(),
      }),
    )
    .meta({ description: 'The first 10 in order.' }),
});
export type BlockedQueue = z.infer<typeof BlockedQueue>;
export const BlockedPage = z.object({ queues: z.array(BlockedQueue), next_cursor: NextCursor });
export type BlockedPage = z.infer<typeof BlockedPage>;
export const UnblockAnswer = z.object({ unblocked: z.int() });
export type UnblockAnswer = z.infer<typeof UnblockAnswer>;
