import type { Clock } from '../runtime/clock.ts';
import type { Database } from '../store/database.ts';
import { sweepRegisters } from '../store/chores.ts';
import {
  type Cursor,
  ensureQueues,
  sweepIdleQueues,
  sweepLeases,
  sweepLines,
  sweepSilent,
  type Term,
} from '../store/decisions.ts';
import {
  type InboxCursor,
  type RunSweepPage,
  sweepDeadLetters,
  sweepDue,
  sweepInbox,
  sweepOverdue,
  sweepWaitTimeouts,
  type TimeCursor,
} from '../store/run-chores.ts';
import type { Chore } from './chore.ts';
import { sweepRound, type SweepRoundOptions, type OnMoved } from './sweep-rounds.ts';

export interface ReaperOptions {
  readonly db: Database;
  readonly clock: Clock;
  /** The lease of the leader: the frequent chores must come round within it. */
  readonly leaseMs: number;
  /** What the sweeps granted, ended or deleted, so that clients that wait for it are woken. */
  readonly onMoved: OnMoved;
  /** A queue made on first use goes when nobody has used it for this long. Default 1 h. */
  readonly queueIdleMs?: number;
  /** Makes queues for which runs wait in the inbox; otherwise those wait until somebody makes them. Default true. */
  readonly autoCreateQueues?: boolean;
  /** A dead letter that blocks nobody goes after so long. Default 30 days. */
  readonly deadLetterRetentionMs?: number;
  readonly periods?: Partial<ReaperPeriods>;
}

/** ms between the rounds of each chore. */
export interface ReaperPeriods {
  /** Lost wake-ups, and leases that ran out while somebody waits. */
  readonly lines: number;
  /** Waiting claims whose client went silent. */
  readonly silent: number;
  /** Claims that waited for too long: promised ended within about a second. */
  readonly wait_timeouts: number;
  /** Leases that ran out where nobody waits: promised within 30 s. */
  readonly leases: number;
  /** Runs enqueued from SQL: promised in line within about a second. */
  readonly inbox: number;
  /** Claims and runs whose time has come. */
  readonly due: number;
  /** Runs that are too old. */
  readonly overdue: number;
  readonly dead_letters: number;
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
  const { db, clock, leaseMs, onMoved, queueIdleMs = 3_600_000, deadLetterRetentionMs = 30 * 86_400_000 } = options;
  if (!(queueIdleMs > 0)) throw new RangeError(`queueIdleMs must be above 0, not ${queueIdleMs}`);
  if (!(deadLetterRetentionMs > 0))
    throw new RangeError(`deadLetterRetentionMs must be above 0, not ${deadLetterRetentionMs}`);
  const periods: ReaperPeriods = {
    lines: Math.min(1000, leaseMs / 2),
    silent: Math.min(1000, leaseMs / 2),
    wait_timeouts: Math.min(1000, leaseMs / 2),
    leases: Math.min(5000, leaseMs / 2),
    inbox: Math.min(1000, leaseMs / 2),
    due: Math.min(1000, leaseMs / 2),
    overdue: Math.min(5000, leaseMs / 2),
    dead_letters: 60_000,
    idle_queues: 60_000,
    registers: 60_000,
    ...options.periods,
  };
  for (const name of ['lines', 'silent', 'wait_timeouts', 'leases', 'inbox', 'due', 'overdue'] as const) {
    if (!(periods[name] < leaseMs))
      throw new RangeError(`the period of chore ${name} (${periods[name]} ms) must be below the lease (${leaseMs} ms)`);
  }
  const sweep = <Next>(
    name: keyof ReaperPeriods,
    page: (term: Term, after: Next | undefined) => ReturnType<SweepRoundOptions<Next>['page']>,
  ): Chore => ({
    name,
    periodMs: periods[name],
    timeoutMs: Math.max(periods[name], 5000),
    runOnce: ({ term, signal }) => sweepRound<Next>({ page: (after) => page(term, after), onMoved, clock, signal }),
  });
  return [
    sweep<Cursor>('lines', (term, after) => sweepLines(db, term, after)),
    sweep<Cursor>('silent', (term, after) => sweepSilent(db, term, after)),
    sweep<TimeCursor>('wait_timeouts', (term, after) => sweepWaitTimeouts(db, term, after)),
    sweep<Cursor>('leases', (term, after) => sweepLeases(db, term, after)),
    sweep<InboxCursor>('inbox', (term, after) => inboxPage(options, term, after)),
    sweep<TimeCursor>('due', (term, after) => sweepDue(db, term, after)),
    sweep<TimeCursor>('overdue', (term, after) => sweepOverdue(db, term, after)),
    sweep<TimeCursor>('dead_letters', (term, after) => sweepDeadLetters(db, term, deadLetterRetentionMs, after)),
    sweep<Cursor>('idle_queues', (term, after) => sweepIdleQueues(db, term, queueIdleMs, after)),
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

/** Queues that are missing are made and the page is looked at once more; where they may not be, they are counted. */
async function inboxPage(
  { db, autoCreateQueues = true }: ReaperOptions,
  term: Term,
  after: InboxCursor | undefined,
): Promise<RunSweepPage<InboxCursor>> {
  const page = await sweepInbox(db, term, after);
  const missing = page.decisions.flatMap(({ code, queue }) => (code === 'queue_missing' ? [queue] : []));
  if (missing.length === 0 || !autoCreateQueues) return page;
  await ensureQueues(db, missing);
  const again = await sweepInbox(db, term, after);
  const before = page.decisions.filter(({ code }) => code !== 'queue_missing');
  return { ...again, decisions: [...before, ...again.decisions] };
}
