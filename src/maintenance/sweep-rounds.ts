import type { Clock } from '../runtime/clock.ts';
import type { Cursor, Decision, SweepPage } from '../store/decisions.ts';
import type { ChoreCounts } from './chore.ts';

/**
 * Told of every page that changed something, at once: clients wait for what it says. `sentAtMs` is when the page's call was
 * sent, monotonic: what remains of a granted lease counts from there.
 */
export type OnMoved = (decisions: readonly Decision[], sentAtMs: number) => void;

export interface SweepRoundOptions {
  /** One page: one short call to the database. */
  readonly page: (after: Cursor | undefined) => Promise<SweepPage>;
  readonly onMoved: OnMoved;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

/** Pages back to back until nothing is left or the signal aborts; how many decisions there were, by their code. */
export async function sweepRound({ page, onMoved, clock, signal }: SweepRoundOptions): Promise<ChoreCounts> {
  const counts: Record<string, number> = {};
  let after: Cursor | undefined;
  do {
    const sentAtMs = clock.monotonicMs();
    const { decisions, next } = await page(after);
    for (const { code } of decisions) counts[code] = (counts[code] ?? 0) + 1;
    if (decisions.length > 0) onMoved(decisions, sentAtMs);
    after = next;
  } while (after !== undefined && !signal.aborted);
  return counts;
}
