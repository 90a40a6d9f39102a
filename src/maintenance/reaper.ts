import type { Clock } from '../runtime/clock.ts';
import type { Database } from '../store/database.ts';
import { sweepRegisters } from '../store/chores.ts';
import {
  sweepIdleQueues,
  sweepLeases,
  sweepLines,
  sweepSilent,
  type Cursor,
  type SweepPage,
  type Term,
} from '../store/decisions.ts';
import type { Chore } from './chore.ts';
import { sweepRound, type OnMoved } from './sweep-rounds.ts';

export interface ReaperOptions {
  readonly db: Database;
  readonly clock: Clock;
  /** The lease of the leader: the frequent chores must come round within it. */
  readonly leaseMs: number;
  /** What the sweeps granted, ended or deleted, so that clients that wait for it are woken. */
  readonly onMoved: OnMoved;
  /** A queue made on first use goes when nobody has used it for this long. Default 1 h. */
  readonly queueIdleMs?: number;
  readonly periods?: Partial<ReaperPeriods>;
}

/** ms between the rounds of each chore. */
export interface ReaperPeriods {
  /** Lost wake-ups, and leases that ran out while somebody waits. */
  readonly lines: number;
  /** Waiting claims whose client went silent. */
  readonly silent: number;
  /** Leases that ran out where nobody waits: promised within 30 s. */
  readonly leases: number;
  readonly idle_queues: number;
  readonly registers: number;
}

const registersPerCall = 100;

/**
 * The chores that end stale leases and claims and advance queues. All of them only clean: any acquire takes an expired
 * slot over by itself. Throws a RangeError if the period of a frequent chore is not below the lease: a term could pass
 * without a round.
 */
export function reaperChores(options: ReaperOptions): readonly Chore[] {
  const { db, clock, leaseMs, onMoved, queueIdleMs = 3_600_000 } = options;
  if (!(queueIdleMs > 0)) throw new RangeError(`queueIdleMs must be above 0, not ${queueIdleMs}`);
  const periods: ReaperPeriods = {
    lines: Math.min(1000, leaseMs / 2),
    silent: Math.min(1000, leaseMs / 2),
    leases: Math.min(5000, leaseMs / 2),
    idle_queues: 60_000,
    registers: 60_000,
    ...options.periods,
  };
  for (const name of ['lines', 'silent', 'leases'] as const) {
    if (!(periods[name] < leaseMs))
      throw new RangeError(`the period of chore ${name} (${periods[name]} ms) must be below the lease (${leaseMs} ms)`);
  }
  const sweep = (
    name: keyof ReaperPeriods,
    page: (term: Term, after: Cursor | undefined) => Promise<SweepPage>,
  ): Chore => ({
    name,
    periodMs: periods[name],
    timeoutMs: Math.max(periods[name], 5000),
    runOnce: ({ term, signal }) => sweepRound({ page: (after) => page(term, after), onMoved, clock, signal }),
  });
  return [
    sweep('lines', (term, after) => sweepLines(db, term, after)),
    sweep('silent', (term, after) => sweepSilent(db, term, after)),
    sweep('leases', (term, after) => sweepLeases(db, term, after)),
    sweep('idle_queues', (term, after) => sweepIdleQueues(db, term, queueIdleMs, after)),
    {
      name: 'registers',
      periodMs: periods.registers,
      timeoutMs: 5000,
      runOnce: async ({ term, signal }) => {
        let removed = 0;
        let page: number;
        do {
          page = await sweepRegisters(db, term);
          removed += page;
        } while (page >= registersPerCall && !signal.aborted);
        return { removed };
      },
    },
  ];
}
