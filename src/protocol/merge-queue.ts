import { z } from 'zod';
import type { CallContext } from './coordinator.ts';
import { FencingToken, QueueName } from './ids.ts';

/**
 * Merge queue leases: the builds of one base branch take turns at something they share, the highest priority first. The
 * words and the wire of /merge-queue are those of mq-lease-service; what its answers cannot hold is under /v1/merge-queues.
 */

/** Which merge queue. `name` is what it is called in views, events, metrics and the prefixes of tokens. */
export interface MergeQueueId {
  readonly owner: string;
  readonly repo: string;
  readonly baseRef: string;
  /** merge-queue/<owner>/<repo>/<base_ref>; the base ref may have slashes. */
  readonly name: QueueName;
}

/** What the names of all merge queues begin with. */
export const mergeQueuePrefix = 'merge-queue/';

/**
 * Undefined where these can name no merge queue: an empty part, a slash in owner or repo, too long, other characters, or a
 * part of dots only, which no URL can name.
 */
export function mergeQueueId(owner: string, repo: string, baseRef: string): MergeQueueId | undefined {
  if (owner === '' || repo === '' || baseRef === '' || /[/:]/.test(owner) || /[/:]/.test(repo)) return undefined;
  if ([owner, repo, baseRef].some((part) => /^\.+$/.test(part))) return undefined;
  const name = QueueName.safeParse(`${mergeQueuePrefix}${owner}/${repo}/${baseRef}`);
  return name.success ? { owner, repo, baseRef, name: name.data } : undefined;
}

/** How the original names it, in its list and its metrics. */
export function providerId({ owner, repo, baseRef }: MergeQueueId): string {
  return `${owner}:${repo}:${baseRef}`;
}

/** The reverse of `name`; undefined if it is none of a merge queue. */
export function parseMergeQueueName(name: string): MergeQueueId | undefined {
  const [, owner = '', repo = '', baseRef = ''] = /^merge-queue\/([^/]+)\/([^/]+)\/(.+)$/.exec(name) ?? [];
  return mergeQueueId(owner, repo, baseRef);
}

/** How many times the ttl a holder may be silent if `hold_ttl_ms` is null. */
export const holdTtlFactor = 10;

/** gh-readonly-queue/<base>/pr-<number>-<sha>: the name GitHub gives the head of a merge group. */
const headRefForm = /^gh-readonly-queue\/([^/]+(?:\/[^/]+)*)\/pr-([0-9]+)-[0-9a-fA-F]+$/;

/** What a head ref of GitHub's merge queue was made for; undefined if it is none, or its number is above 2^53 - 1. */
export function parseHeadRef(headRef: string): { readonly base: string; readonly pullRequest: number } | undefined {
  const [, base, digits] = headRefForm.exec(headRef) ?? [];
  const pullRequest = Number(digits);
  return base !== undefined && Number.isSafeInteger(pullRequest) ? { base, pullRequest } : undefined;
}

const durationMsMax = 604_800_000;

export const HoldTtlMs = z.int().min(1).max(2_592_000_000);

export const MergeQueueSettings = z.strictObject({
  stabilisation_ms: z
    .int()
    .min(0)
    .max(durationMsMax)
    .meta({ description: 'Nobody gets the lease until nothing has changed for so long, or expected_count is met.' }),
  ttl_ms: z
    .int()
    .min(1)
    .max(durationMsMax)
    .meta({ description: 'A build that waits and has not asked for longer than this is forgotten.' }),
  expected_count: z.int().min(0).max(10_000).meta({ description: 'So many registered builds end the wait early.' }),
  delay_count: z
    .int()
    .min(0)
    .max(10_000)
    .meta({ description: 'How often a build that could have the lease is answered pending first.' }),
  hold_ttl_ms: HoldTtlMs.nullable().meta({
    description: `A holder not heard for longer loses the lease. null = ${holdTtlFactor} times ttl_ms.`,
  }),
  success_completes: z.enum(['all', 'contained']).meta({
    description:
      'Whom a success tells that they are completed. all: every registered build, as the original does. contained: those of lower priority only.',
  }),
  require_token: z
    .boolean()
    .meta({ description: 'A release must show the fencing token. false: the head_sha is enough, as in the original.' }),
  refused_acquire_updates: z.boolean().meta({
    description: 'A refused acquire of the holder still stores its priority and ref, as in the original.',
  }),
});
export type MergeQueueSettings = z.infer<typeof MergeQueueSettings>;
export const MergeQueueSettingsChange = MergeQueueSettings.partial();
export type MergeQueueSettingsChange = z.infer<typeof MergeQueueSettingsChange>;

/** How a grant ended. `expired`: nobody heard of its holder for hold_ttl_ms. All but success hand the lease down. */
export const grantOutcomes = ['success', 'failure', 'cancelled', 'expired'] as const;
export type GrantOutcome = (typeof grantOutcomes)[number];

/** What a holder may report. */
export const reportedOutcomes = ['success', 'failure', 'cancelled'] as const;
export type ReportedOutcome = (typeof reportedOutcomes)[number];

/** The status of a build on the wire. A success is `completed` in the same call. */
export type MergeStatus = 'pending' | 'acquired' | 'completed' | 'failure' | 'cancelled' | 'expired';

/**
 * Why a build is pending. next_call: it may have the lease, and gets it when it asks. quarantine: it may have it when nobody can
 * believe any longer in a lease that a failover of the database lost.
 */
export const mergeWaitReasons = [
  'held',
  'stabilisation',
  'higher_priority',
  'delay',
  'next_call',
  'draining',
  'quarantine',
] as const;
export type MergeWaitReason = (typeof mergeWaitReasons)[number];

/** Why a call was refused. What the original says in each case is in the table of src/http/merge-queue/refusals.ts. */
export type MergeRefusal =
  | 'lease_taken'
  | 'status_mismatch'
  | 'nothing_held'
  | 'not_the_holder'
  | 'not_registered'
  | 'token_mismatch'
  | 'token_required'
  | 'lease_lost'
  | 'ended_otherwise'
  | 'queue_full';

/** A build as every answer shows it. */
export interface MergeRequestView {
  readonly headSha: string;
  readonly headRef: string;
  readonly priority: number;
  readonly status: MergeStatus;
}

/** A grant as its holder is told of it. */
export interface MergeGrantView {
  readonly fencingToken: FencingToken;
  readonly acquiredAtMs: number;
  readonly expiresAtMs: number;
  readonly ttlRemainingMs: number;
  readonly renewAfterMs: number;
}

/** Why a build is pending, and what it could do about it. */
export interface MergeWaitView {
  /** 1 = highest. */
  readonly position: number;
  readonly waitingFor: MergeWaitReason;
  /** Who has the lease, or the build of higher priority. */
  readonly blockedBy: (MergeRequestView & { readonly heldForMs: number | null }) | null;
  /** How long the window still runs; null where it decides nothing. */
  readonly windowRemainingMs: number | null;
  readonly registered: number;
  /** Eligible polls left that will be answered pending. */
  readonly delaysLeft: number;
}

/** How a build stands, or why the call about it was refused. */
export type MergeAnswer =
  | {
      readonly kind: 'request';
      readonly request: MergeRequestView;
      /** While it is acquired. */
      readonly stackedPullRequests: readonly number[] | null;
      readonly grant: MergeGrantView | null;
      readonly wait: MergeWaitView | null;
      /** How long the replica kept the call before it asked the database. */
      readonly waitedMs: number;
      /** When to ask again, while it is pending. */
      readonly pollAfterMs: number | null;
    }
  | {
      readonly kind: 'refused';
      readonly refusal: MergeRefusal;
      readonly hasStatus: MergeStatus | null;
      /** For lease_lost and ended_otherwise: why the grant ended, where that is still known. */
      readonly reason: string | null;
      /** When to ask again, where that can help. */
      readonly retryAfterMs: number | null;
    };

export interface MergeAcquire {
  readonly headSha: string;
  readonly headRef: string;
  readonly priority: number;
  readonly requestId: string | null;
  readonly holdTtlMs: number | null;
  readonly fencingToken: number | null;
  readonly waitMs: number;
}

export interface MergeRelease {
  readonly headSha: string;
  readonly headRef: string;
  readonly priority: number;
  readonly outcome: ReportedOutcome;
  readonly fencingToken: number | null;
}

export interface MergeRenew {
  readonly headSha: string;
  readonly fencingToken: number;
  readonly holdTtlMs?: number | null;
}

/** A merge queue as the original shows it. */
export interface ProviderView {
  readonly id: MergeQueueId;
  readonly lastUpdatedAtMs: number;
  /** The holder, or what is left of it: completed, or the marker of a failure. */
  readonly acquired: KnownRequest | null;
  /** Ascending by priority. */
  readonly known: readonly KnownRequest[];
  readonly settings: MergeQueueSettings;
}

export interface KnownRequest {
  readonly request: MergeRequestView;
  readonly stackedPullRequests: readonly number[] | null;
}

const Instant = z.string().meta({ format: 'date-time' });

/** A build, as /v1 shows it. */
export const MergeRequestDetail = z.object({
  head_sha: z.string(),
  head_ref: z.string(),
  priority: z.int(),
  status: z.enum(['pending', 'acquired', 'completed', 'failure', 'cancelled', 'expired']),
  request_id: z.string().nullable(),
  position: z.int().nullable().meta({ description: 'Of a pending one: 1 = highest.' }),
  waiting_for: z.enum(mergeWaitReasons).nullable(),
  fencing_token: FencingToken.nullable(),
  registered_at: Instant,
  last_seen_at: Instant,
  acquired_at: Instant.nullable(),
  expires_at: Instant.nullable(),
  ended_at: Instant.nullable(),
  waited_ms: z.int(),
  delays_left: z.int(),
});
export type MergeRequestDetail = z.infer<typeof MergeRequestDetail>;

export const MergeQueueDetail = z.object({
  queue: QueueName,
  owner: z.string(),
  repo: z.string(),
  base_ref: z.string(),
  ...MergeQueueSettings.shape,
  mode: z.enum(['open', 'held', 'draining', 'inheriting']).meta({
    description:
      'open: the highest build may get the lease. held: somebody has it. draining: its holder succeeded, those it completed are being told. inheriting: it did not, and those registered with it go on in turn.',
  }),
  window_remaining_ms: z.int().nullable(),
  held_ms: z.int().nullable().meta({ description: 'How long its holder has the lease, or had it.' }),
  pending: z
    .int()
    .meta({ description: 'Builds that wait; in a list of merge queues only the first 100 of them are shown.' }),
  requests: z.array(MergeRequestDetail).meta({ description: 'The holder first, then those that wait, in order.' }),
  version: z.int(),
  auto_created: z.boolean(),
  created_at: Instant,
  updated_at: Instant,
});
export type MergeQueueDetail = z.infer<typeof MergeQueueDetail>;

export const MergeQueuePage = z.object({ merge_queues: z.array(MergeQueueDetail), next_cursor: z.string().nullable() });
export type MergeQueuePage = z.infer<typeof MergeQueuePage>;

/**
 * The verbs of merge queues. `undefined`: there is no such merge queue and none is made on first use. Whatever may come of
 * the database is thrown as SignalboxError.
 */
export interface MergeQueues {
  /** Waits up to `waitMs` for the lease, or for the end of the build. */
  acquire(id: MergeQueueId, call: MergeAcquire, context: CallContext): Promise<MergeAnswer | undefined>;
  release(id: MergeQueueId, call: MergeRelease, context: CallContext): Promise<MergeAnswer | undefined>;
  renew(id: MergeQueueId, call: MergeRenew, context: CallContext): Promise<MergeAnswer | undefined>;
  clear(id: MergeQueueId, actor: string | undefined): Promise<ProviderView | undefined>;
  show(id: MergeQueueId): Promise<ProviderView | undefined>;
  /** All whose names begin with `prefix`. */
  list(prefix: string): Promise<readonly ProviderView[]>;
  /** Throws 404 `merge_queue_not_found`. */
  detail(id: MergeQueueId): Promise<MergeQueueDetail>;
  page(options: { prefix: string; cursor: string; limit: number }): Promise<MergeQueuePage>;
  /** Throws 412 `version_mismatch`. `ifVersion` 0: only if there is none yet. */
  configure(
    id: MergeQueueId,
    change: MergeQueueSettingsChange,
    options: { ifVersion: number | undefined; actor: string | undefined },
  ): Promise<MergeQueueDetail>;
  /** Throws 404, 409 `merge_queue_in_use`, 412. `force`: its builds are cleared first. */
  remove(
    id: MergeQueueId,
    options: { force: boolean; ifVersion: number | undefined; actor: string | undefined },
  ): Promise<void>;
}
