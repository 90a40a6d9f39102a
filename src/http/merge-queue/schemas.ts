import { z } from 'zod';
import { FencingToken } from '../../protocol/ids.ts';
import { HoldTtlMs, mergeWaitReasons, reportedOutcomes } from '../../protocol/merge-queue.ts';
import { waitMsMax } from './requests.ts';

/**
 * The wire of /merge-queue as the OpenAPI document shows it. Requests are not checked with these: they are read as
 * mq-lease-service reads them (requests.ts).
 */
export const ProviderParams = z.object({
  owner: z.string(),
  repo: z.string(),
  base_ref: z.string().meta({ description: 'The base branch; its slashes percent-encoded.' }),
});

const build = {
  head_sha: z.string().min(1).max(1000),
  head_ref: z
    .string()
    .max(1000)
    .meta({ description: 'gh-readonly-queue/<base>/pr-<number>-<sha>, as GitHub names it.' }),
  priority: z.int().min(1),
};

export const MergeAcquireBody = z.looseObject({
  ...build,
  request_id: z
    .string()
    .min(1)
    .max(200)
    .optional()
    .meta({ description: 'Names the attempt: a holder that asks again with it gets its lease again.' }),
  fencing_token: FencingToken.optional(),
  wait_ms: z.int().min(0).max(waitMsMax).optional().meta({ description: 'Wait so long for a better answer.' }),
  hold_ttl_ms: HoldTtlMs.optional().meta({ description: 'A holder not heard for longer loses the lease.' }),
});

export const MergeReleaseBody = z.looseObject({
  ...build,
  status: z.enum(reportedOutcomes),
  fencing_token: FencingToken.optional(),
});

export const MergeRenewBody = z.looseObject({ head_sha: build.head_sha, fencing_token: FencingToken });

const status = z.enum(['pending', 'acquired', 'completed', 'failure', 'cancelled', 'expired']);
const MergeRequest = z.object({ head_sha: z.string(), head_ref: z.string(), priority: z.int(), status });
const context = {
  request: MergeRequest,
  stacked_pull_requests: z
    .array(z.object({ number: z.int() }))
    .optional()
    .meta({ description: 'Of an acquired build: the pull requests in it.' }),
};
const Instant = z.string().meta({ format: 'date-time' });

export const MergeReleaseAnswer = z.object(context);

export const MergeAnswer = z.object({
  ...context,
  waited_ms: z.int().optional(),
  fencing_token: FencingToken.optional().meta({ description: 'This and the next four: of an acquired build.' }),
  acquired_at: Instant.optional(),
  expires_at: Instant.optional(),
  ttl_remaining_ms: z.int().optional(),
  renew_after_ms: z.int().optional(),
  position: z.int().optional().meta({ description: 'This and the rest: of a pending build. 1 = highest.' }),
  waiting_for: z.enum(mergeWaitReasons).optional(),
  blocked_by: MergeRequest.extend({ held_for_ms: z.int().nullable() }).nullable().optional(),
  window_remaining_ms: z.int().nullable().optional(),
  registered: z.int().optional(),
  delays_left: z.int().optional(),
  poll_after_ms: z.int().nullable().optional(),
});

const known = z.object(context);

export const MergeProvider = z.object({
  last_updated_at: Instant,
  acquired: known.nullable(),
  known: z.array(known),
  config: z.object({
    stabilize_duration: z.int().meta({ description: 'Seconds.' }),
    ttl: z.int().meta({ description: 'Seconds.' }),
    expected_request_count: z.int(),
    delay_assignment_count: z.int(),
  }),
});

export const MergeProviders = z
  .record(z.string(), MergeProvider)
  .meta({ description: 'By owner:repo:base_ref; those the token may see.' });

export const MergeError = z.object({
  error: z.string(),
  error_context: z
    .union([z.string(), z.array(z.object({ failed_field: z.string(), tag: z.string(), value: z.string() }))])
    .optional(),
  code: z.string().optional().meta({ description: 'Only where mq-lease-service has no such answer.' }),
});
