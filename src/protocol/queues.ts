import { z } from 'zod';
import { DelayMs, MaxWaitMs, TtlMs } from './claims.ts';
import { QueueName, plainText } from './ids.ts';
import { MaxAgeMs, MaxAttempts } from './runs.ts';

/** The max_ttl_ms of a queue made on first use: the default of its column. */
export const newQueueMaxTtlMs = 300_000;
/** Its default_ttl_ms. */
export const newQueueDefaultTtlMs = 30_000;

export const OnFailure = z.enum(['wait', 'step_around', 'stop']).meta({
  description:
    'What a retried run means for those behind it. wait: they wait for it. step_around: they go on. stop: they wait, and a run that dies or fails blocks the line until an operator acts. null: wait at a limit of 1, else step_around.',
});

/** PUT keeps the value of absent fields; null where it is allowed means none. */
export const QueueSettings = z.strictObject({
  concurrency_limit: z
    .int()
    .min(0)
    .max(1_000_000)
    .nullable()
    .meta({ description: 'null = unlimited, 0 = nothing is granted, n = n places.' }),
  paused: z.boolean().meta({ description: 'true: nothing is granted, claims wait.' }),
  default_ttl_ms: TtlMs,
  max_ttl_ms: TtlMs,
  waiting_ttl_ms: TtlMs.meta({ description: 'A waiting claim whose client is silent for longer ends as expired.' }),
  max_waiting: z.int().min(0).max(10_000_000).nullable().meta({ description: 'Longest line; null = no bound.' }),
  max_hold_ms: z
    .int()
    .min(1000)
    .max(2_592_000_000)
    .nullable()
    .meta({ description: 'Longest hold, renewals included; applies to grants made from then on; null = no bound.' }),
  lock_delay_ms: z
    .int()
    .min(0)
    .max(600_000)
    .meta({ description: 'After an expired or broken lease its slot stays empty this long.' }),
  claim_memory_ms: z
    .int()
    .min(1000)
    .max(604_800_000)
    .meta({ description: 'How long an ended claim id answers claim_ended before it counts as new.' }),
  max_runs: z
    .int()
    .min(0)
    .max(10_000_000)
    .nullable()
    .meta({ description: 'Most runs in line and delayed; null = no bound.' }),
  max_attempts: MaxAttempts,
  max_age_ms: MaxAgeMs.nullable(),
  retry_delay_ms: z
    .int()
    .min(0)
    .max(86_400_000)
    .meta({ description: 'The first backoff of a retry; it doubles per attempt, jittered to 50 to 100 %.' }),
  retry_delay_max_ms: DelayMs.meta({ description: 'The longest backoff.' }),
  on_failure: OnFailure.nullable(),
  priority_head_start_ms: z.int().min(1).max(86_400_000).nullable().meta({
    description:
      'How much earlier than it came a claim counts for each unit of priority: so waiting counts against priority. null: a higher priority always goes first.',
  }),
  rotate_by: plainText(63).nullable().meta({
    description: 'A label: its values take turns, whoever has more in line. A unit of priority is worth one turn.',
  }),
  retry_place: z.enum(['kept', 'last']).meta({
    description: 'Where a retried claim or run stands: at its old place, or behind all that wait.',
  }),
  supersede_by: plainText(63).nullable().meta({
    description: 'A label: latest_only ends only claims with the same value of it. null: of the whole queue.',
  }),
  cancel_in_progress: z.boolean().meta({
    description:
      'true: latest_only also asks holders that it would have ended, had they waited, to release (release_requested); it never ends them.',
  }),
  on_full: z.enum(['refuse', 'drop_oldest', 'drop_last']).meta({
    description:
      'What a claim meets in a full line. refuse: 429 queue_full. drop_oldest: the first in line that is not of higher priority ends for it. drop_last: the last in line does, if the claim would stand before it. Who ends is superseded, reason overflow; if nobody does, 429.',
  }),
  max_wait_ms: MaxWaitMs.nullable(),
  reserve_max_ms: z.int().min(0).max(600_000).meta({
    description: 'How long at a time a claim on several queues may keep free places of this one from others, in ms.',
  }),
  on_failover: z.enum(['quarantine', 'immediate']).meta({
    description: 'After the database failed over: quarantine = nothing new is granted for max_ttl_ms.',
  }),
  closed: z
    .boolean()
    .meta({ description: 'true: takes no new claims and runs (409 queue_closed); those that are known are served.' }),
  cleanup: z.boolean().meta({ description: 'true: a place that was held is dirty until a cleaner has released it.' }),
});

const settingNames = Object.keys(QueueSettings.shape) as [keyof typeof QueueSettings.shape];

/** What PUT names becomes the queue's own; what `inherit` lists is not its own any more. */
export const QueueSettingsChange = QueueSettings.partial().extend({
  inherit: z
    .array(z.enum(settingNames))
    .max(100)
    .optional()
    .meta({ description: "Settings that become what the queue's pattern says, or else the default." }),
});
export type QueueSettingsChange = z.infer<typeof QueueSettingsChange>;

const Instant = z.string().meta({ format: 'date-time' });

export const QueueSummary = z.object({
  queue: QueueName,
  ...QueueSettings.shape,
  held: z.int().meta({ description: 'Holders, those whose lease ran out and is not ended yet included.' }),
  waiting: z.int().meta({ description: 'Claims and runs in line.' }),
  runs: z.int().meta({ description: 'Those in line that are runs.' }),
  delayed: z.int().meta({ description: 'Not in line yet: enqueued or retried for later.' }),
  blocked: z.boolean().meta({ description: 'A retried or stopped run keeps others waiting.' }),
  dead_letters: z.int(),
  dirty: z.int().meta({ description: 'Slots that wait for a cleaner; they count as taken.' }),
  cleaning: z.int().meta({ description: 'Slots that a cleaner is at work on; they count as taken.' }),
  draining: z.int().meta({
    description: 'Places taken above the limit; their holders finish, nobody new is granted meanwhile.',
  }),
  oldest_wait_ms: z.int().nullable(),
  version: z.int(),
  auto_created: z.boolean(),
  created_at: Instant,
  updated_at: Instant,
});
export type QueueSummary = z.infer<typeof QueueSummary>;

export const QueueDetail = QueueSummary.extend({
  sources: z
    .record(z.string(), z.string())
    .meta({ description: 'Where each setting comes from: `local`, `pattern: repo/*`, or `default`.' }),
  holders: z
    .array(
      z.object({
        claim_id: z.string(),
        holder: z.string(),
        kind: z.enum(['claim', 'run', 'cleaning']),
        slot: z.int(),
        fencing_token: z.int(),
        ttl_remaining_ms: z.int(),
        expired: z.boolean(),
        release_requested: z.boolean(),
        acquired_at: Instant,
        expires_at: Instant,
      }),
    )
    .meta({ description: 'The first 100 by slot.' }),
  line: z
    .array(
      z.object({
        claim_id: z.string(),
        holder: z.string(),
        position: z.int(),
        priority: z.int(),
        waiting_for: z.string(),
        why: z.string(),
        estimated_wait_ms: z.int().nullable(),
        enqueued_at: Instant,
      }),
    )
    .meta({ description: 'The first 10 claims in order.' }),
  run_line: z
    .array(
      z.object({
        claim_id: z.string(),
        position: z.int(),
        priority: z.int(),
        attempts: z.int(),
        waiting_for: z.string(),
        enqueued_at: Instant,
      }),
    )
    .meta({ description: 'The first 10 runs in order.' }),
});
export type QueueDetail = z.infer<typeof QueueDetail>;

export const QueuePage = z.object({
  queues: z.array(QueueSummary),
  next_cursor: z
    .string()
    .nullable()
    .meta({ description: 'Goes into `cursor` for the next page; null = the last one.' }),
});
export type QueuePage = z.infer<typeof QueuePage>;

export const TokenCheck = z.object({
  current: z.boolean().meta({ description: 'An unexpired lease of this slot bears exactly this token.' }),
  slot: z.int(),
  newest_token: z.int().nullable().meta({ description: 'The newest token ever granted for this slot.' }),
});
export type TokenCheck = z.infer<typeof TokenCheck>;
