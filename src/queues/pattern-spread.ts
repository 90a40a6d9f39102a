import { backoffMs } from '../runtime/backoff.ts';
import type { Clock } from '../runtime/clock.ts';
import { Pause } from '../runtime/pause.ts';
import type { Database } from '../store/database.ts';
import { advance, changesIn, type Decision, rowsPerCall, type Term } from '../store/decisions.ts';
import { failureKind } from '../store/failures.ts';
import { finishPattern, inheritSettings, type SpreadingPattern } from '../store/queue-patterns.ts';
import { readQueues } from '../store/queue-reads.ts';
import type { News } from './news.ts';

export interface SpreadOptions {
  readonly db: Database;
  readonly clock: Clock;
  readonly news: Pick<News, 'spread'>;
  /** When to leave the rest to somebody else. */
  readonly signal: AbortSignal;
  /** The term in whose name it is done; undefined = in the name of who changed the pattern. */
  readonly term?: Term | undefined;
}

/** How far a change has come; whoever was interrupted goes on with it. A new one begins at the first queue. */
export class SpreadProgress {
  /** The last queue that was looked at; undefined = all were, but for those that are busy. */
  after: string | undefined = '';
  readonly busy = new Set<string>();
}

/** What says how far a call came, and is news to nobody. */
const aboutTheCall = new Set(['next', 'line_busy', 'inherited']);

/**
 * Gives all queues of a pattern what they inherit now, in pages by name, then those whose lines were busy, again until none
 * is; then the change counts as done. Returns how many queues changed. What is left when the signal aborts goes on where
 * `progress` is. If this process dies, the leader begins anew: queues that are as they should be are not written to.
 */
export async function spreadPattern(
  change: SpreadingPattern,
  progress: SpreadProgress,
  options: SpreadOptions,
): Promise<number> {
  const { db, clock, news, signal, term } = options;
  const { busy } = progress;
  const isOver = () => signal.aborted;
  let changed = 0;
  const telling = async (call: () => Promise<readonly Decision[]>): Promise<readonly Decision[]> => {
    const sentAtMs = clock.monotonicMs();
    const decisions = await call();
    const moves = decisions.filter(({ code }) => !aboutTheCall.has(code));
    if (moves.length > 0) news.spread(moves, sentAtMs);
    // One queue may have more free places than one call fills. Nobody else is kept from filling them meanwhile.
    const last = moves.at(-1)?.queue;
    if (last !== undefined && changesIn(moves) >= rowsPerCall) await telling(() => advance(db, [last]));
    return decisions;
  };
  const page = async (which: Parameters<typeof inheritSettings>[1]) => {
    const decisions = await telling(() => inheritSettings(db, which, { actor: change.actor, term }));
    // Taken off only now: whoever looks meanwhile must not believe that all is done. Those still busy go behind the others.
    for (const queue of 'queues' in which ? which.queues : []) busy.delete(queue);
    for (const { code, queue } of decisions) {
      if (code === 'line_busy') busy.add(queue);
      if (code === 'inherited') changed += 1;
    }
    return decisions.find(({ code }) => code === 'next')?.queue;
  };

  const prefix = change.pattern.slice(0, -1);
  while (progress.after !== undefined && !signal.aborted) {
    const { after } = progress;
    try {
      progress.after = await page({ prefix, after });
    } catch (error) {
      // A row of one of them was not to be had in time, and the page changed nothing: they are looked at one by one.
      if (failureKind(error) !== 'contended') throw error;
      const names = await readQueues(db, { prefix, after, limit: rowsPerCall });
      for (const { queue } of names) busy.add(queue);
      progress.after = names.length < rowsPerCall ? undefined : names.at(-1)?.queue;
    }
  }
  for (let attempt = 0; busy.size > 0 && !signal.aborted; attempt++) {
    await new Pause().wait(backoffMs(attempt, retry), signal);
    const queues = [...busy].slice(0, rowsPerCall);
    if (await unlessContended(() => page({ queues }))) continue;
    for (const queue of queues) {
      if (isOver()) break;
      if (await unlessContended(() => page({ queues: [queue] }))) continue;
      // Behind those that were only on a page with it.
      busy.delete(queue);
      busy.add(queue);
    }
  }
  if (progress.after === undefined && busy.size === 0) await finishPattern(db, change, term);
  return changed;
}

async function unlessContended(work: () => Promise<unknown>): Promise<boolean> {
  try {
    await work();
    return true;
  } catch (error) {
    if (failureKind(error) !== 'contended') throw error;
    return false;
  }
}

const retry = { firstMs: 10, maxMs: 200 };
