import type { Term } from '../store/decisions.ts';
import type { Chore } from './chore.ts';

export interface PatternChoreOptions {
  /** The lease of the leader: the chore must come round within it. */
  readonly leaseMs: number;
  /** Carries changes of patterns that nobody finished to their queues, under the term; how many queues changed. */
  readonly finish: (term: Term, signal: AbortSignal) => Promise<number>;
}

/** A caller that changed a pattern and died before all its queues had the change: the leader finishes it. */
export function patternChore({ leaseMs, finish }: PatternChoreOptions): Chore {
  return {
    name: 'patterns',
    periodMs: Math.min(1000, leaseMs / 2),
    timeoutMs: 5000,
    runOnce: async ({ term, signal }) => ({ inherited: await finish(term, signal) }),
  };
}
