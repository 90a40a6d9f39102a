import type { GrantOutcome } from '../../protocol/merge-queue.ts';

/** Which build an event is about, as it was then. */
interface About {
  readonly headSha: string;
  readonly headRef: string;
  readonly priority: number;
}

/** What happened to a merge queue. Whoever waits is woken by any of them; polls that change nothing make none. */
export type MergeQueueEvent =
  | ({ readonly type: 'registered' | 'updated' } & About)
  | ({ readonly type: 'acquired'; readonly fencingToken: number; readonly waitedMs: number } & About)
  /** A grant ended. `mergedBatchSize`: of a success, itself and the builds of lower priority. */
  | ({
      readonly type: 'ended';
      readonly outcome: GrantOutcome;
      readonly fencingToken: number;
      readonly registeredAtMs: number;
      readonly acquiredAtMs: number;
      readonly expiresAtMs: number;
      readonly requestId: string | null;
      readonly mergedBatchSize: number | null;
    } & About)
  /** A build that had no lease is gone: told that it is completed, forgotten for its silence, or cleared by an operator. */
  | ({
      readonly type: 'completed' | 'evicted' | 'cleared';
      readonly registeredAtMs: number;
      readonly requestId: string | null;
    } & About)
  /** A held lease was cleared by an operator. */
  | ({
      readonly type: 'broken';
      readonly fencingToken: number;
      readonly registeredAtMs: number;
      readonly acquiredAtMs: number;
      readonly expiresAtMs: number;
      readonly requestId: string | null;
    } & About)
  /** Newcomers are let in again. */
  | { readonly type: 'opened' };
