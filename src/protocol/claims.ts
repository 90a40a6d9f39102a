import { z } from 'zod';
import { ClaimId, FencingToken, HolderId, QueueName, plainText } from './ids.ts';

export const ttlMsRange = { min: 1000, max: 86_400_000 } as const;
export const waitMsMax = 60_000;
export const metadataBytesMax = 8192;

export const TtlMs = z.int().min(ttlMsRange.min).max(ttlMsRange.max).meta({ description: 'Length of a lease, in ms.' });
export const WaitMs = z
  .int()
  .min(0)
  .max(waitMsMax)
  .meta({ description: 'How long to keep the request waiting, in ms.' });
export const Priority = z.int().min(-1_000_000).max(1_000_000).meta({ description: 'Higher goes first; 0 is usual.' });
export const Mode = z.enum(['wait', 'skip_if_busy', 'latest_only']).meta({
  description:
    'wait: join the line. skip_if_busy: 409 queue_busy and no claim. latest_only: end older waiting latest_only claims of the queue, or of the same value of its supersede_by.',
});
export const Labels = z
  .record(
    plainText(63),
    z
      .string()
      .max(200)
      .refine((v) => v.isWellFormed() && !v.includes('\0'), 'must be plain text'),
  )
  .refine((labels) => Object.keys(labels).length <= 32, 'at most 32 labels');

function storable(value: unknown): boolean {
  if (typeof value === 'string') return value.isWellFormed() && !value.includes('\0');
  if (Array.isArray(value)) return value.every(storable);
  if (typeof value === 'object' && value !== null)
    return Object.entries(value).every(([key, inner]) => storable(key) && storable(inner));
  return true;
}
// Not z.json(): what was parsed from JSON is JSON, and checking that costs more than all else of a call.
export const Metadata = z
  .record(z.string(), z.unknown())
  .refine((value) => storable(value), 'must not contain NUL characters or broken Unicode')
  .refine((value) => Buffer.byteLength(JSON.stringify(value)) <= metadataBytesMax, `at most ${metadataBytesMax} bytes`)
  .meta({ description: `Any JSON object up to ${metadataBytesMax} bytes; returned as it is.` });

export const waitLimitMsMax = 31_536_000_000;
export const MaxWaitMs = z
  .int()
  .min(1000)
  .max(waitLimitMsMax)
  .meta({ description: 'A claim that still waits after so long ends as expired, reason wait_timeout, in ms.' });
export const weightMax = 1_000_000;
/** The place of a claim among those of one event. */
export const batchFields = {
  batch: plainText(200).optional().meta({
    description: 'Claims of one batch stand together where the first of them does, in the order in which they came.',
  }),
  batch_rank: z
    .int()
    .min(0)
    .max(1_000_000)
    .optional()
    .meta({ description: 'The order within the batch, smaller first; 0 if absent; equal ones as they came.' }),
};
export const batchRankNeedsBatch = 'batch_rank goes with batch only';
export function rankFitsBatch(body: { readonly batch?: string | undefined; readonly batch_rank?: number | undefined }) {
  return body.batch_rank === undefined || body.batch !== undefined;
}

export const alsoMax = 3;
const Weight = z
  .int()
  .min(1)
  .max(weightMax)
  .meta({ description: 'How many places of the queue the claim takes; more than its limit means all of them.' });
export const AlsoQueue = z.union([QueueName, z.strictObject({ queue: QueueName, weight: Weight.default(1) })]);
export type AlsoQueue = z.infer<typeof AlsoQueue>;
export const Also = z
  .array(AlsoQueue)
  .max(alsoMax)
  .refine((also) => new Set(alsoNames({ also })).size === also.length, 'each queue once')
  .meta({
    description:
      'More queues in which the claim holds a place, granted in all of them or in none. By name, or with weight.',
  });

/** The names among the other queues of an acquire. */
export function alsoNames({ also = [] }: { readonly also?: readonly AlsoQueue[] | undefined }): string[] {
  return also.map((other) => (typeof other === 'string' ? other : other.queue));
}
export const onlyOneIsLatest = 'mode latest_only is for one queue: leave also out';
export function modeFitsQueues({ also, mode }: { also?: readonly AlsoQueue[] | undefined; mode?: string }): boolean {
  return mode !== 'latest_only' || also === undefined || also.length === 0;
}

export const AcquireFields = z.strictObject({
  holder: HolderId,
  claim_id: ClaimId.optional(),
  priority: Priority.default(0),
  ttl_ms: TtlMs.optional(),
  wait_ms: WaitMs.default(0),
  mode: Mode.default('wait'),
  labels: Labels.default({}),
  metadata: Metadata.default({}),
  weight: Weight.default(1),
  also: Also.optional(),
  max_wait_ms: MaxWaitMs.optional(),
  ...batchFields,
});
export const AcquireBody = AcquireFields.refine(rankFitsBatch, batchRankNeedsBatch).refine(
  modeFitsQueues,
  onlyOneIsLatest,
);
export type AcquireBody = z.infer<typeof AcquireBody>;

export const Outcome = z
  .enum(['success', 'failure', 'cancelled', 'retry'])
  .meta({ description: 'What the holder reports. retry: back into the line at its old place.' });
/** A year. */
export const delayMsMax = 31_536_000_000;
export const DelayMs = z.int().min(0).max(delayMsMax);
export const ErrorText = z
  .string()
  .max(4000)
  .refine((text) => text.isWellFormed() && !text.includes('\0'), 'must not contain NUL characters or broken Unicode')
  .meta({ description: 'What went wrong, for people; kept with the history of the claim.' });
/** The fields of an ending, for every call that has some. */
export const endingFields = {
  outcome: Outcome.optional(),
  retry_after_ms: DelayMs.optional().meta({
    description: "With outcome retry: not before so much time has passed, in ms. Absent: the queue's backoff.",
  }),
  error: ErrorText.optional(),
  uncounted: z.literal(true).optional().meta({
    description: 'With outcome retry: the work was not begun, so the attempt does not count.',
  }),
};
export function fieldsFitOutcome(ending: {
  readonly outcome?: string | undefined;
  readonly retry_after_ms?: number | undefined;
  readonly uncounted?: true | undefined;
}): boolean {
  return (ending.retry_after_ms === undefined && ending.uncounted === undefined) || ending.outcome === 'retry';
}
export const fieldsOfRetry = 'retry_after_ms and uncounted go with outcome retry only';
export const RenewBody = z.strictObject({ fencing_token: FencingToken, ttl_ms: TtlMs.optional() });
export type RenewBody = z.infer<typeof RenewBody>;
export const ReleaseBody = z
  .strictObject({ fencing_token: FencingToken, ...endingFields })
  .refine(fieldsFitOutcome, fieldsOfRetry);
export type ReleaseBody = z.infer<typeof ReleaseBody>;
export const CancelBody = z.strictObject({});
export const BreakBody = z.strictObject({ reason: plainText(1000), actor: plainText(200) });
export type BreakBody = z.infer<typeof BreakBody>;

const Instant = z.string().meta({ format: 'date-time', description: "By the database's clock." });
const described = {
  claim_id: ClaimId,
  queue: QueueName,
  kind: z.enum(['claim', 'run', 'cleaning']).meta({
    description: 'claim: acquired by its holder. run: enqueued, then taken. cleaning: a dirty slot that a cleaner has.',
  }),
  attempt: z.int().meta({ description: 'Number of its grant; while it waits: grants so far.' }),
  holder: HolderId,
  priority: z.int(),
  mode: Mode,
  labels: z.record(z.string(), z.string()),
  metadata: z.record(z.string(), z.unknown()),
  enqueued_at: Instant,
};

export const WaitingFor = z.enum([
  'no_free_slot',
  'behind_others',
  'paused',
  'limit_zero',
  'lock_delay',
  'cleanup',
  'other_queue',
  'not_before',
  'quarantine',
  'taker',
  'blocked',
]);
export type WaitingFor = z.infer<typeof WaitingFor>;

/** A place that a claim on several queues holds in another one than its own. */
export const PlaceElsewhere = z.object({
  queue: QueueName,
  slot: z.int(),
  fencing_token: FencingToken,
  weight: z.int(),
});
export type PlaceElsewhere = z.infer<typeof PlaceElsewhere>;
const primaryMeta = {
  description: 'Of a claim on several queues, seen through another one than its own: its own. All verbs go there.',
};

/** 200: a held lease. The holder's deadline = its own monotonic send time + waited_ms + ttl_remaining_ms − margin. */
export const HeldClaim = z.object({
  ...described,
  state: z.literal('held'),
  fencing_token: FencingToken,
  slot: z.int(),
  ttl_ms: z.int(),
  ttl_remaining_ms: z.int(),
  waited_ms: z.int(),
  renew_after_ms: z.int(),
  release_requested: z.boolean(),
  acquired_at: Instant,
  renewed_at: Instant,
  expires_at: Instant,
  also: z.array(PlaceElsewhere).optional(),
  primary: QueueName.optional().meta(primaryMeta),
});
export type HeldClaim = z.infer<typeof HeldClaim>;

/** 202: a claim in line. `position` 1 = next; it may be one second old. */
export const WaitingClaim = z.object({
  ...described,
  holder: z.string().meta({ description: 'Who waits; empty for a run that nobody has taken.' }),
  state: z
    .enum(['waiting', 'delayed'])
    .meta({ description: 'delayed: after a retry, not in line before `due_at`; position is 0.' }),
  due_at: Instant.nullable(),
  ttl_ms: z.int(),
  weight: z.int().optional().meta({ description: 'How many places it asks for, where that is more than one.' }),
  position: z.int(),
  position_exact: z.boolean().meta({ description: 'false: more than 10,000 are ahead; position is a lower bound.' }),
  ahead: z.int(),
  queue_depth: z.int(),
  waiting_for: WaitingFor,
  why: z.string().meta({ description: 'waiting_for with its figures, as a sentence for people.' }),
  estimated_wait_ms: z.int().nullable().meta({
    description:
      'How long it will probably wait still, from how long places of this queue were held so far; null = nothing to tell it from. A guess.',
  }),
  blocked_by: z.array(z.object({ claim_id: z.string(), holder: z.string(), slot: z.int(), ttl_remaining_ms: z.int() })),
  earlier_grants: z
    .array(
      z.object({
        holder: z.string(),
        fencing_token: z.int(),
        decision: z.string().meta({
          description: 'How it ended: offer_lapsed (nobody heard of it), retry, expired, max_hold, or untaken.',
        }),
        error: z.string().nullable(),
        acquired_at: Instant,
        ended_at: Instant,
      }),
    )
    .meta({ description: 'What became of grants it has had already, the newest first, at most five.' }),
  poll_after_ms: z.int(),
  also: z.array(z.object({ queue: QueueName, weight: z.int() })).optional(),
  primary: QueueName.optional().meta(primaryMeta),
  waiting_for_queue: QueueName.optional().meta({ description: 'With other_queue: which one has no place.' }),
});
export type WaitingClaim = z.infer<typeof WaitingClaim>;

/** An ended claim, as long as it is remembered. */
export const EndedClaim = z.object({
  ...described,
  state: z.enum(['released', 'cancelled', 'expired', 'broken', 'superseded', 'dead']),
  reason: z.string(),
  outcome: z.string().nullable().optional(),
  fencing_token: z.int().nullable().optional(),
  slot: z.int().nullable().optional(),
  acquired_at: Instant.nullable().optional(),
  ended_at: Instant.nullable().optional(),
  actor: z.string().nullable().optional(),
  detail: z.string().nullable().optional(),
  error: z.string().nullable().optional().meta({ description: 'What its last holder said went wrong.' }),
  also: z.array(PlaceElsewhere.partial({ slot: true, fencing_token: true })).optional(),
  primary: QueueName.optional().meta(primaryMeta),
});
export type EndedClaim = z.infer<typeof EndedClaim>;

export const RenewedLease = z.object({
  claim_id: ClaimId,
  queue: QueueName,
  fencing_token: FencingToken,
  slot: z.int(),
  ttl_remaining_ms: z.int(),
  waited_ms: z.int(),
  renew_after_ms: z.int(),
  release_requested: z.boolean(),
  expires_at: Instant,
});
export type RenewedLease = z.infer<typeof RenewedLease>;

/** `state`: where the claim is now, after a retry. `due_at`: until when it is delayed. */
export const ReleaseAnswer = z.object({
  released: z.boolean(),
  reason: z.string().optional(),
  state: z.enum(['waiting', 'delayed', 'dead', 'superseded']).optional(),
  due_at: Instant.optional(),
});
export type ReleaseAnswer = z.infer<typeof ReleaseAnswer>;

export type ClaimView = HeldClaim | WaitingClaim | EndedClaim;
