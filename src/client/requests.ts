import type { HeldClaim } from '../protocol/claims.ts';

/** What callers send, in the words of the HTTP interface: snake_case, names as plain strings. */

export type Mode = 'wait' | 'skip_if_busy' | 'latest_only';
/** `retry`: back into the line at its old place. */
export type Outcome = 'success' | 'failure' | 'cancelled' | 'retry';

/** By name, or with how many places of it. */
export type AlsoQueue = string | { readonly queue: string; readonly weight?: number | undefined };

export interface AcquireRequest {
  readonly holder: string;
  readonly claim_id?: string | undefined;
  readonly priority?: number | undefined;
  readonly ttl_ms?: number | undefined;
  readonly wait_ms?: number | undefined;
  readonly mode?: Mode | undefined;
  readonly labels?: Readonly<Record<string, string>> | undefined;
  readonly metadata?: Readonly<Record<string, unknown>> | undefined;
  /** Places of the queue it takes. */
  readonly weight?: number | undefined;
  /** More queues, at most 3: a place in all of them, or in none. */
  readonly also?: readonly AlsoQueue[] | undefined;
  /** Ends as expired if it still waits after so long. */
  readonly max_wait_ms?: number | undefined;
  /** Claims of one batch stand together, in the order in which they came, or by rank. */
  readonly batch?: string | undefined;
  readonly batch_rank?: number | undefined;
}

export interface EnqueueRequest {
  readonly claim_id?: string | undefined;
  readonly priority?: number | undefined;
  /** What JSON.stringify can write. */
  readonly payload?: unknown;
  readonly labels?: Readonly<Record<string, string>> | undefined;
  readonly delay_ms?: number | undefined;
  readonly max_attempts?: number | undefined;
  readonly max_age_ms?: number | undefined;
  readonly batch?: string | undefined;
  readonly batch_rank?: number | undefined;
}

/** Exactly one of `queue` and `prefix`; '' is the prefix of every queue. */
export interface TakeRequest {
  readonly holder: string;
  readonly queue?: string | undefined;
  readonly prefix?: string | undefined;
  readonly max?: number | undefined;
  readonly ttl_ms?: number | undefined;
  readonly wait_ms?: number | undefined;
  readonly request_id?: string | undefined;
}

export interface CleanRequest {
  readonly holder: string;
  readonly max?: number | undefined;
  readonly ttl_ms?: number | undefined;
  readonly wait_ms?: number | undefined;
  readonly request_id?: string | undefined;
}

/** What names one grant. */
export type LeaseKey = Pick<HeldClaim, 'queue' | 'claim_id' | 'fencing_token'>;

/** The same in plain words. */
export interface LeaseName {
  readonly queue: string;
  readonly claim_id: string;
  readonly fencing_token: number;
}

/** `retry_after_ms` and `uncounted` go with outcome `retry` only. */
export interface Ending {
  readonly outcome?: Outcome | undefined;
  /** Absent: the queue's backoff. */
  readonly retry_after_ms?: number | undefined;
  /** The work was not begun: the attempt does not count, so a run never dies of it. */
  readonly uncounted?: true | undefined;
  /** For people; up to 4000 characters. */
  readonly error?: string | undefined;
}
export type LeaseEnding = LeaseKey & Ending;

/** One operation of a batch: the call it stands for, what it is about, and what that call takes, without `wait_ms`. */
export type BatchOperation =
  | ({ readonly op: 'acquire'; readonly queue: string } & Omit<AcquireRequest, 'wait_ms'>)
  | { readonly op: 'get' | 'cancel'; readonly queue: string; readonly claim_id: string }
  | ({ readonly op: 'renew'; readonly ttl_ms?: number | undefined } & LeaseName)
  | ({ readonly op: 'release' } & LeaseName & Ending)
  | {
      readonly op: 'break';
      readonly queue: string;
      readonly claim_id: string;
      readonly reason: string;
      readonly actor: string;
    }
  | ({ readonly op: 'enqueue'; readonly queue: string } & EnqueueRequest);

/** Which dead letters of a queue, and who acts. */
export type DeadLettersRequest =
  { readonly claim_ids: readonly string[]; readonly actor: string } | { readonly all: true; readonly actor: string };

/** Who acts, and why, for the audit. */
export interface OperatorRequest {
  readonly actor: string;
  readonly reason?: string | undefined;
}

/** What names a merge queue; whatever has these, such as its detail, will do. */
export interface MergeQueueKey {
  readonly owner: string;
  readonly repo: string;
  /** May have slashes. */
  readonly base_ref: string;
}

/** Which events, and from where on. */
export interface EventsRequest {
  /** The id of the last event seen, or a page's `next_after`; `newest`: behind all that is there. Absent: from the oldest kept. */
  readonly after?: string | undefined;
  readonly queue?: string | undefined;
  /** Of queues whose names begin so. */
  readonly prefix?: string | undefined;
  /** Only events of claims that have all of these. */
  readonly labels?: Readonly<Record<string, string>> | undefined;
  readonly limit?: number | undefined;
  /** How long to wait for the first event, in ms. */
  readonly wait_ms?: number | undefined;
}

export interface PageRequest {
  /** Of queues whose names begin so. */
  readonly prefix?: string | undefined;
  /** The `next_cursor` of the page before. */
  readonly cursor?: string | undefined;
  readonly limit?: number | undefined;
}
