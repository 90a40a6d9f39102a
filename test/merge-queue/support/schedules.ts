import fc from 'fast-check';
import type { AcquireCall, Answer, Call } from '../../../src/merge-queue/machine/calls.ts';
import type { MergeQueueEvent } from '../../../src/merge-queue/machine/events.ts';
import type { MergeQueueState } from '../../../src/merge-queue/machine/state.ts';
import type { MergeQueueSettings } from '../../../src/protocol/merge-queue.ts';
import { MachineUnderTest, refOf } from './machine-under-test.ts';

/** Of all property tests of merge queues: the same schedules in every run, named by fast-check when one fails. */
export const propertySeed = 20_261_121;

const slot = fc.nat({ max: 5 });
const token = fc.constantFrom('none' as const, 'none' as const, 'right' as const, 'wrong' as const, 'old' as const);
const priority = fc.integer({ min: 1, max: 4 });

export const anySettings: fc.Arbitrary<MergeQueueSettings> = fc.record({
  stabilisation_ms: fc.constantFrom(0, 10_000, 30_000),
  ttl_ms: fc.constantFrom(20_000, 100_000, 200_000),
  expected_count: fc.constantFrom(0, 1, 2, 3, 4, 4, 9),
  delay_count: fc.constantFrom(0, 0, 1, 2),
  hold_ttl_ms: fc.constantFrom(null, 15_000, 60_000),
  success_completes: fc.constantFrom('all' as const, 'contained' as const),
  require_token: fc.constantFrom(false, false, true),
  refused_acquire_updates: fc.boolean(),
});

const move = fc.oneof(
  {
    weight: 16,
    arbitrary: fc.record({
      do: fc.constant('acquire' as const),
      slot,
      /** null: what it said before. */
      priority: fc.option(priority, { freq: 3 }),
      number: fc.option(fc.integer({ min: 1, max: 9 }), { freq: 9 }),
      requestId: fc.constantFrom(null, null, 'a', 'b'),
      holdTtlMs: fc.constantFrom(null, null, null, 5000, 100_000),
      token,
      /** Whether it shows a token though it has no lease: it is refused then, so few do. */
      isLate: fc.nat({ max: 11 }).map((number) => number === 0),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant('release' as const),
      /** null: whoever was the last to get the lease. */
      slot: fc.option(slot, { freq: 5 }).map((other) => (other === null || other < 4 ? null : other)),
      outcome: fc.constantFrom('success' as const, 'success' as const, 'failure' as const, 'cancelled' as const),
      priority: fc.option(priority, { freq: 1 }),
      token,
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant('renew' as const), slot: fc.option(slot, { freq: 1 }), token }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constantFrom('clear' as const, 'tick' as const, 'tick when due' as const) }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant('pass' as const),
      ms: fc.oneof(
        { weight: 6, arbitrary: fc.nat({ max: 6000 }) },
        { weight: 2, arbitrary: fc.constantFrom(5000, 10_000, 15_000, 20_000, 20_001, 30_000, 60_000) },
        { weight: 1, arbitrary: fc.constantFrom(200_000, 200_001, 3_600_001, 86_400_001) },
      ),
    }),
  },
);
type Move = typeof move extends fc.Arbitrary<infer M> ? M : never;

export interface Schedule {
  readonly settings: MergeQueueSettings;
  readonly moves: readonly Move[];
}

/** Six clients that do as they please, at any time, with any token. */
export const schedules: fc.Arbitrary<Schedule> = fc.record({
  settings: anySettings,
  moves: fc.array(move, { minLength: 1, maxLength: 120, size: 'max' }),
});

/** One call of a schedule, with all that it was decided by and all that came of it. */
export interface Taken {
  readonly settings: MergeQueueSettings;
  readonly nowMs: number;
  readonly nextToken: number;
  readonly call: Call;
  readonly before: MergeQueueState;
  readonly after: MergeQueueState;
  readonly answer: Answer;
  readonly events: readonly MergeQueueEvent[];
}

export interface Played {
  readonly queue: MachineUnderTest;
  readonly taken: readonly Taken[];
  readonly startedAtMs: number;
}

function tokenFor(kind: 'none' | 'right' | 'wrong' | 'old', newest: number): number | null {
  return { none: null, right: newest, wrong: newest + 5, old: newest - 1 }[kind];
}

/** The calls of a schedule put to the machine, one after another. */
export function play({ settings, moves }: Schedule): Played {
  const queue = new MachineUnderTest(settings);
  const startedAtMs = queue.nowMs;
  const taken: Taken[] = [];
  const said = new Map<string, Pick<AcquireCall, 'headRef' | 'priority'>>();
  let winner = 'build 0';
  const put = (call: Call): void => {
    const { state: before, nowMs, newestToken } = queue;
    const { state: after, answer, events } = queue.step(call);
    taken.push({ settings: queue.settings, nowMs, nextToken: newestToken + 1, call, before, after, answer, events });
    if (after.grant !== null) winner = after.grant.headSha;
  };
  const nameOf = (number: number | null) => (number === null ? winner : `build ${number}`);
  const told = (headSha: string) => said.get(headSha) ?? { headRef: refOf(1), priority: 1 };
  for (const next of moves)
    switch (next.do) {
      case 'pass':
        queue.pass(next.ms);
        break;
      case 'tick when due':
        if (queue.dueAtMs === null) break;
        queue.nowMs = Math.max(queue.nowMs, queue.dueAtMs);
        put({ verb: 'tick' });
        break;
      case 'tick':
      case 'clear':
        put({ verb: next.do });
        break;
      case 'renew': {
        const fencingToken = tokenFor(next.token, queue.newestToken) ?? queue.newestToken;
        put({ verb: 'renew', headSha: nameOf(next.slot), fencingToken });
        break;
      }
      case 'release': {
        const headSha = nameOf(next.slot);
        const call = { ...told(headSha), ...(next.priority === null ? {} : { priority: next.priority }) };
        const fencingToken = tokenFor(next.token, queue.newestToken);
        put({ verb: 'release', headSha, ...call, outcome: next.outcome, fencingToken });
        break;
      }
      case 'acquire': {
        const headSha = nameOf(next.slot);
        const before = told(headSha);
        const call = {
          headRef: next.number === null ? before.headRef : refOf(next.number),
          priority: next.priority ?? before.priority,
        };
        said.set(headSha, call);
        const { requestId, holdTtlMs } = next;
        const shows = next.isLate || queue.state.grant?.headSha === headSha;
        const fencingToken = shows ? tokenFor(next.token, queue.newestToken) : null;
        put({ verb: 'acquire', headSha, ...call, requestId, holdTtlMs, fencingToken });
        break;
      }
      default:
        next satisfies never;
    }
  return { queue, taken, startedAtMs };
}

/** Plays random schedules and puts each to the rule. */
export function forAllSchedules(rule: (played: Played) => void, { numRuns = 300 } = {}): void {
  fc.assert(
    fc.property(schedules, (schedule) => {
      rule(play(schedule));
    }),
    { seed: propertySeed, numRuns },
  );
}
