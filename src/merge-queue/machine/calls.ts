import type {
  MergeGrantView,
  MergeQueueSettings,
  MergeRefusal,
  MergeRequestView,
  MergeWaitView,
  ReportedOutcome,
} from '../../protocol/merge-queue.ts';
import type { MergeQueueEvent } from './events.ts';
import type { MergeQueueState } from './state.ts';

export interface AcquireCall {
  readonly verb: 'acquire';
  readonly headSha: string;
  readonly headRef: string;
  readonly priority: number;
  /** Names the attempt of the client: the holder that asks again under the same one gets its lease again. */
  readonly requestId: string | null;
  /** How long it may be silent as a holder, 1 to 2592000000; null = as the queue says. */
  readonly holdTtlMs: number | null;
  /** The holder may show its token in place of a request id. */
  readonly fencingToken: number | null;
}

export interface ReleaseCall {
  readonly verb: 'release';
  readonly headSha: string;
  readonly headRef: string;
  readonly priority: number;
  readonly outcome: ReportedOutcome;
  readonly fencingToken: number | null;
}

export interface RenewCall {
  readonly verb: 'renew';
  readonly headSha: string;
  readonly fencingToken: number;
  /** How long it may be silent from now on; absent = as before. */
  readonly holdTtlMs?: number | null;
}

/** An operator empties the queue. */
export interface ClearCall {
  readonly verb: 'clear';
}

/** The reaper looks whether something is over. */
export interface TickCall {
  readonly verb: 'tick';
}

export type Call = AcquireCall | ReleaseCall | RenewCall | ClearCall | TickCall;

/** What a call is decided by, beside the state. */
export interface Moment {
  readonly settings: MergeQueueSettings;
  /** By the database's clock. */
  readonly nowMs: number;
  /** The token a grant made now would bear: higher than any before in this queue. */
  readonly nextToken: number;
  /** Until then nothing is granted: somebody may believe in a lease that a failover lost. Absent: it is. */
  readonly quarantinedUntilMs?: number | undefined;
}

export type Answer =
  /** How the build stands. `grant` while it is acquired, `wait` while it is pending. */
  | {
      readonly kind: 'request';
      readonly request: MergeRequestView;
      readonly stackedPullRequests: readonly number[] | null;
      readonly grant: MergeGrantView | null;
      readonly wait: MergeWaitView | null;
      /** This call used up one of its delays: asking once more within the same call must not use up another. */
      readonly usedDelay: boolean;
    }
  /** `hasStatus`: what the build's status is, for status_mismatch. */
  | { readonly kind: 'refused'; readonly refusal: MergeRefusal; readonly hasStatus: MergeRequestView['status'] | null }
  | { readonly kind: 'done' };

export interface Step {
  readonly state: MergeQueueState;
  readonly answer: Answer;
  readonly events: readonly MergeQueueEvent[];
}
