import type { Database } from '../store/database.ts';
import type { Term } from '../store/decisions.ts';
import { failureKind } from '../store/failures.ts';
import { readDueMergeQueues, sweepIdleMergeQueues } from '../store/merge-queues.ts';
import type { Chore } from './chore.ts';

export interface MergeQueueReaperOptions {
  readonly db: Database;
  /** The lease of the leader: the frequent chore must come round within it. */
  readonly leaseMs: number;
  /** A merge queue made on first use goes when nobody has used it for this long. */
  readonly idleMs: number;
  /** Looks at one merge queue whose time has come, and writes under the term; how many things happened to it. */
  readonly tick: (queue: string, term: Term) => Promise<number>;
}

/** Merge queues of one round; what is left is due in the next. */
const queuesPerRound = 100;
const idlePerCall = 100;

/**
 * What time alone brings about in merge queues: silent holders lose the lease, silent builds go. Any call to such a queue
 * does the same by itself; the reaper is for those that nobody calls, and for those who wait.
 */
export function mergeQueueChores({ db, leaseMs, idleMs, tick }: MergeQueueReaperOptions): readonly Chore[] {
  const periodMs = Math.min(500, leaseMs / 2);
  return [
    {
      name: 'merge_queues',
      periodMs,
      timeoutMs: Math.max(periodMs, 5000),
      runOnce: async ({ term, signal }) => {
        let moved = 0;
        const failures: unknown[] = [];
        for (const queue of await readDueMergeQueues(db, queuesPerRound)) {
          if (signal.aborted) break;
          try {
            moved += await tick(queue, term);
          } catch (error) {
            if (failureKind(error) === 'deposed') throw error;
            // One that cannot be read is always the first that is due: the others must not wait for it.
            failures.push(error);
          }
        }
        if (failures.length > 0)
          throw new AggregateError(failures, `${failures.length} merge queues could not be looked at`);
        return { moved };
      },
    },
    {
      name: 'idle_merge_queues',
      periodMs: 60_000,
      timeoutMs: 5000,
      runOnce: async ({ term, signal }) => {
        let removed = 0;
        let page: number;
        do {
          page = await sweepIdleMergeQueues(db, term, idleMs);
          removed += page;
        } while (page >= idlePerCall && !signal.aborted);
        return { removed };
      },
    },
  ];
}
