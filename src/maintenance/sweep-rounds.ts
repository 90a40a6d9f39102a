import type { Clock } from '../runtime/clock.ts';
import type { Decision } from '../store/decisions.ts';
import type { ChoreCounts } from './chore.ts';

/**
 * Told of every page that changed something, at once: clients wait for what it says. `sentAtMs` is when the page's call was
 * sent, monotonic: what remains of a granted lease counts from there.
 */
export type OnMoved = (decisions: readonly Decision[], sentAtMs: number) => void;

export interface SweepRoundOptions<Next> {
  /** One page: one short call to the database; `next` is where the one after it begins. */
  readonly page: (
    after: Next | undefined,
  ) => Promise<{ readonly decisions: readonly Decision[]; readonly next: Next | undefined }>;
  readonly onMoved: OnMoved;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

/**
 * Pages back to back until nothing is left or the signal aborts; how many decisions there were, by their code. One that
 * stands for several rows says how many in its body. `ready` and `stir` only wake, and count for nothing; what could not be
 * done (`queue_missing`) is counted, and news to nobody.
 */
export async function sweepRound<Next>(options: SweepRoundOptions<Next>): Promise<ChoreCounts> {
  const { page, onMoved, clock, signal } = options;
  const counts: Record<string, number> = {};
  let after: Next | undefined;
  do {
    const sentAtMs = clock.monotonicMs();
    const { decisions, next } = await page(after);
    for (const { code, body } of decisions) {
      if (code !== 'ready' && code !== 'stir') counts[code] = (counts[code] ?? 0) + Number(body?.['rows'] ?? 1);
    }
    const moved = decisions.filter(({ code }) => code !== 'queue_missing');
    if (moved.length > 0) onMoved(moved, sentAtMs);
    after = next;
  } while (after !== undefined && !signal.aborted);
  return counts;
}
