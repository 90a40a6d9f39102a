import { isAborted } from '../runtime/pause.ts';
import type { Database } from '../store/database.ts';
import type { Term } from '../store/decisions.ts';
import {
  cancelPartitionWork,
  connectForPartitions,
  detachPartition,
  dropDetached,
  finalizeDetach,
  listPartitions,
  sweepPartitions,
  type HistoryPartition,
  type PartitionConnection,
} from '../store/history-partitions.ts';
import type { Chore, ChoreCounts, MaintenanceEvent } from './chore.ts';

export interface HistoryPrunerOptions {
  readonly db: Database;
  /** Never a pooler: DETACH CONCURRENTLY commits twice within one statement. */
  readonly directUrl: string;
  /** Whole days after its own end that a day is kept. Default 8: a day above the longest claim memory. */
  readonly historyRetentionDays?: number;
  readonly periodMs?: number;
  /** A detach waits for every transaction that uses the table; given up after this long, the next round goes on. */
  readonly detachTimeoutMs?: number;
  readonly onEvent: (event: MaintenanceEvent) => void;
}

const daysMadeAhead = 7;
const alarmBelowDays = 3;
/** From the cancelling of a statement: the cancelling itself is one short statement, its effect is at once. */
const cutAfterMs = 2000;

export class PartitionTimeoutError extends Error {
  constructor(step: string, partition: string, afterMs: number) {
    super(`${step} of ${partition} did not end within ${afterMs} ms`);
    this.name = 'PartitionTimeoutError';
  }
}

/**
 * The chore of the daily partitions of history and events: makes days ahead, removes old ones. A day goes in up to three
 * steps (detach, or finalise a detach that was broken off; drop), each found again in the catalogue, so that a round that
 * died anywhere is healed by the next. These steps are the one write of the leader without the term's epoch: they may
 * not run in a transaction, and doing them twice harms nobody. A detached table of our name and older than the
 * retention is dropped; rename one to keep it.
 */
export function historyChore(options: HistoryPrunerOptions): Chore {
  const { db, historyRetentionDays = 8, periodMs = 600_000, detachTimeoutMs = 10_000, onEvent } = options;
  // Yesterday's partition is always made, for writers whose clock reading is just before midnight.
  if (!Number.isSafeInteger(historyRetentionDays) || historyRetentionDays < 2)
    throw new RangeError(`historyRetentionDays must be a whole number, 2 or more, not ${historyRetentionDays}`);
  if (!(detachTimeoutMs > 0)) throw new RangeError(`detachTimeoutMs must be above 0, not ${detachTimeoutMs}`);
  return {
    name: 'history',
    periodMs,
    timeoutMs: Math.max(60_000, 3 * detachTimeoutMs),
    runOnce: async ({ term, signal }) => {
      const made = await makeAhead(db, term, onEvent);
      const old = (await listPartitions(db)).filter(({ daysAhead }) => daysAhead < -historyRetentionDays);
      if (old.length === 0) return { made, dropped: 0 };
      return { made, ...(await prune(old, { ...options, detachTimeoutMs, signal })) };
    },
  };
}

/** The alarm is looked at also when making fails: then it matters most. */
async function makeAhead(db: Database, term: Term, onEvent: HistoryPrunerOptions['onEvent']): Promise<number> {
  try {
    return await sweepPartitions(db, term, daysMadeAhead);
  } finally {
    const partitions = await listPartitions(db);
    const furthest = (parent: string) =>
      Math.max(-1, ...partitions.filter((p) => p.parent === parent && p.state === 'attached').map((p) => p.daysAhead));
    const daysAhead = Math.min(furthest('history'), furthest('events'));
    if (daysAhead < alarmBelowDays) onEvent({ kind: 'history.running_short', daysAhead });
  }
}

interface PruneOptions {
  readonly db: Database;
  readonly directUrl: string;
  readonly detachTimeoutMs: number;
  readonly signal: AbortSignal;
}

async function prune(old: readonly HistoryPartition[], options: PruneOptions): Promise<ChoreCounts> {
  const counts = { finalized: 0, detached: 0, dropped: 0 };
  const connection = await connectForPartitions(options.directUrl, options.signal);
  const run = (step: string, partition: HistoryPartition, work: () => Promise<void>) =>
    withTimeout({ ...options, connection }, step, partition, work);
  try {
    // A parent takes one pending detach at a time, so those come first.
    for (const partition of old.filter(({ state }) => state === 'detaching')) {
      if (options.signal.aborted) break;
      await run('finalizing', partition, () => finalizeDetach(connection, partition));
      counts.finalized++;
    }
    for (const partition of old) {
      if (options.signal.aborted) break;
      if (partition.state === 'attached') {
        await run('detaching', partition, () => detachPartition(connection, partition));
        counts.detached++;
      }
      await run('dropping', partition, () => dropDetached(connection, partition));
      counts.dropped++;
    }
    return counts;
  } finally {
    await connection.close();
  }
}

/** A timeout of this side: the direct connection takes no start-up setting if it leads through a pooler after all. */
async function withTimeout(
  options: PruneOptions & { readonly connection: PartitionConnection },
  step: string,
  partition: HistoryPartition,
  work: () => Promise<void>,
): Promise<void> {
  const { db, signal, detachTimeoutMs, connection } = options;
  const timeout = new AbortController();
  let cutTimer: NodeJS.Timeout | undefined;
  const cancel = () => {
    // What was cancelled says so on its connection, unless that is silent: then nothing ever comes, and this side goes on
    // alone. The server finishes alone too, and the next round finds what it did.
    cutTimer ??= setTimeout(() => connection.cut(), cutAfterMs);
    cancelPartitionWork(db, connection.backendPid).catch(() => connection.cut());
  };
  const timer = setTimeout(() => {
    timeout.abort();
    cancel();
  }, detachTimeoutMs);
  signal.addEventListener('abort', cancel, { once: true });
  try {
    signal.throwIfAborted();
    await work();
  } catch (error) {
    if (isAborted(timeout.signal)) throw new PartitionTimeoutError(step, partition.name, detachTimeoutMs);
    throw error;
  } finally {
    clearTimeout(timer);
    clearTimeout(cutTimer);
    signal.removeEventListener('abort', cancel);
  }
}
