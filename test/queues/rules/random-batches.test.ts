import fc from 'fast-check';
import { expect, inject, test } from 'vitest';
import type { TestDatabase } from '../../support/database.ts';
import { type Answer, decide, makeQueues, onQueue, rowsOf } from '../../support/sql-verbs.ts';
import { orderFields, orderSettings } from '../../support/order-draws.ts';
import { expectSoundQueues } from '../../support/sound-queues.ts';
import { expectSameState, openTwins, told, type Twins } from './twins.ts';

const queues = ['one', 'two', 'three', 'wide', 'wide.two'];
const anyQueue = fc.constantFrom(...queues, 'two', 'three', 'three', 'paused', 'zero', 'nowhere');
const claim = fc.integer({ min: 0, max: 3 });
const which = fc.constantFrom('last', 'last', 'first', 'never');
/** Of the queues of its batch. Few, so that its items meet. */
const among = fc.nat({ max: 2 });
/** A claim that lives then, rather than one of the window of names. */
const live = fc.option(fc.nat({ max: 20 }), { freq: 3 });
const item = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      op: fc.constant('acquire' as const),
      among,
      claim,
      fresh: fc.constantFrom(false, false, true),
      holder: fc.constantFrom('h', 'h', 'h', 'h', 'h', 'other'),
      weight: fc.constantFrom<number | undefined>(undefined, undefined, undefined, 3),
      priority: fc.integer({ min: -1, max: 1 }),
      mode: fc.constantFrom('wait', 'wait', 'skip_if_busy', 'latest_only'),
      listen_ms: fc.constantFrom(0, 3_600_000),
      ttl_ms: fc.constantFrom(1000, 20_000, 30_000, 120_000, 600_000),
      max_wait_ms: fc.constantFrom(undefined, undefined, undefined, 1000, 20_000),
      ...orderFields,
    }),
  },
  {
    weight: 5,
    arbitrary: fc.record({
      op: fc.constant('release' as const),
      among,
      claim,
      live,
      which,
      outcome: fc.constantFrom(undefined, undefined, 'success', 'failure', 'retry'),
      // Always given: a backoff of chance would differ in the two databases.
      retry_after_ms: fc.constantFrom(0, 4000),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      op: fc.constant('enqueue' as const),
      among,
      claim,
      priority: fc.integer({ min: -1, max: 1 }),
      delay_ms: fc.constantFrom(0, 0, 3000),
      max_attempts: fc.constantFrom(undefined, 1, 2),
      ...orderFields,
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ op: fc.constantFrom('cancel' as const, 'break' as const), among, claim, live }),
  },
);
const step = fc.oneof(
  {
    weight: 12,
    arbitrary: fc.record({
      do: fc.constant('batch' as const),
      queues: fc.tuple(anyQueue, anyQueue, anyQueue),
      items: fc.array(item, { minLength: 1, maxLength: 12, size: 'max' }),
      locked: fc.option(fc.constantFrom(...queues), { freq: 6, nil: undefined }),
      wait: fc.boolean(),
    }),
  },
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constant('take' as const),
      source: fc.constantFrom({ prefix: '' }, { prefix: 'w' }, { queue: 'one' }, { queue: 'two' }, { queue: 'wide' }),
      max: fc.constantFrom(1, 2, 5),
    }),
  },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('renew' as const), queue: anyQueue, claim, which }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('hear' as const), queue: anyQueue, claim }) },
  {
    weight: 4,
    arbitrary: fc.record({ do: fc.constant('clock' as const), by: fc.integer({ min: -3000, max: 15_000 }) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant('configure' as const),
      queue: fc.constantFrom(...queues),
      settings: fc.constantFrom<object>(
        { concurrency_limit: 0 },
        { concurrency_limit: 1 },
        { concurrency_limit: 4 },
        { concurrency_limit: null },
        { paused: true },
        { paused: false, concurrency_limit: 2 },
        { max_waiting: 2 },
        { on_failure: 'stop' },
        { on_failure: 'step_around' },
        { max_waiting: null, paused: false },
        { max_waiting: 2, on_full: 'drop_oldest' },
        { max_waiting: 3, on_full: 'drop_last' },
        { supersede_by: 'branch', cancel_in_progress: true },
        { supersede_by: null, max_wait_ms: 20_000 },
        { closed: true },
        { closed: false },
        ...orderSettings,
      ),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('delete' as const), queue: fc.constantFrom(...queues) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('advance' as const) }) },
);
type Step = typeof step extends fc.Arbitrary<infer S> ? S : never;

/** Few queues in which many wait, and little that is decided one by one: what the set-wise functions are for. */
const busyItem = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      op: fc.constant('acquire' as const),
      among,
      claim,
      fresh: fc.boolean(),
      holder: fc.constant('h'),
      weight: fc.oneof(
        { weight: 19, arbitrary: fc.constant<number | undefined>(undefined) },
        { weight: 1, arbitrary: fc.constant(3) },
      ),
      priority: fc.integer({ min: -1, max: 1 }),
      mode: fc.constantFrom('wait', 'wait', 'wait', 'wait', 'wait', 'wait', 'wait', 'skip_if_busy'),
      listen_ms: fc.constantFrom(0, 3_600_000),
      ttl_ms: fc.constantFrom(20_000, 30_000, 120_000),
      max_wait_ms: fc.constantFrom(undefined, undefined, undefined, 1000, 20_000),
      labels: orderFields.labels,
      batch: fc.constant(undefined),
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      op: fc.constant('release' as const),
      among,
      claim,
      live,
      which: fc.constantFrom('last', 'last', 'last', 'never'),
      // Not a retry: one by one it is back in line before the line is served for the batch's other releases.
      outcome: fc.constantFrom(undefined, undefined, 'success' as const, 'failure' as const),
      retry_after_ms: fc.constant(0),
    }),
  },
  { weight: 1, arbitrary: fc.record({ op: fc.constantFrom('cancel' as const, 'break' as const), among, claim, live }) },
);
const busyQueue = fc.constantFrom('one', 'two', 'two');
const busyStep = fc.oneof(
  {
    weight: 12,
    arbitrary: fc.record({
      do: fc.constant('batch' as const),
      queues: fc.tuple(busyQueue, busyQueue, busyQueue),
      items: fc.array(busyItem, { minLength: 1, maxLength: 12, size: 'max' }),
      locked: fc.constant(undefined),
      wait: fc.boolean(),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constant('clock' as const), by: fc.integer({ min: -1000, max: 5000 }) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant('configure' as const),
      queue: busyQueue,
      settings: fc.constantFrom<object>(
        { concurrency_limit: 1 },
        { concurrency_limit: 4 },
        { max_waiting: 2 },
        { max_waiting: null },
        { lock_delay_ms: 5000 },
        { lock_delay_ms: 0 },
        { priority_head_start_ms: 5000 },
        { priority_head_start_ms: null },
      ),
    }),
  },
);

async function makeAll(db: TestDatabase): Promise<void> {
  await makeQueues(db, ['one'], { max_hold_ms: 100_000 });
  await makeQueues(db, ['two'], { concurrency_limit: 2 });
  await makeQueues(db, ['three'], { concurrency_limit: 3, lock_delay_ms: 5000, max_waiting: 4 });
  await makeQueues(db, ['wide', 'wide.two'], { concurrency_limit: null, lock_delay_ms: 5000 });
  await makeQueues(db, ['wide.two'], { concurrency_limit: 2 });
  await makeQueues(db, ['paused'], { paused: true, concurrency_limit: 2 });
  await makeQueues(db, ['zero'], { concurrency_limit: 0 });
}

/** One schedule in both databases. */
async function run(twins: Twins, lockers: ReadonlyMap<TestDatabase, TestDatabase['query']>, steps: readonly Step[]) {
  const tokens = new Map<string, number[]>();
  let clockMs = 0;
  let stepNumber = 0;
  // Claims end for good, so the ids in use move on with the steps.
  const claimId = (number: number) => `claim ${Math.floor(stepNumber / 3) + number}`;
  const token = (of: { queue: string; claim_id: string }, whichOne: string) =>
    whichOne === 'never' ? 1 : (tokens.get(`${of.queue} ${of.claim_id}`)?.at(whichOne === 'last' ? -1 : 0) ?? 2);
  const learn = (answers: readonly Answer[]) => {
    for (const { code, queue, claim_id: id, body } of answers) {
      const known = tokens.get(`${queue} ${id ?? ''}`) ?? [];
      if ((code === 'held' || code === 'taken') && known.at(-1) !== body.fencing_token)
        tokens.set(`${queue} ${id ?? ''}`, [...known, body.fencing_token]);
    }
  };
  const same = async (work: (db: TestDatabase) => Promise<Answer[]>): Promise<Answer[]> => {
    const [usual, single] = await twins.both(work);
    expect(told(usual)).toEqual(told(single));
    learn(usual);
    return usual;
  };

  for (const next of steps) {
    stepNumber++;
    const before = await holders(twins.usual);
    switch (next.do) {
      case 'batch': {
        const living = await claims(twins.usual);
        const wished = next.items.map((wish, index) => {
          const queue = next.queues[wish.among] ?? 'one';
          if (wish.op === 'acquire')
            return { ...wish, queue, claim_id: wish.fresh ? `fresh ${stepNumber}.${index}` : claimId(wish.claim) };
          if (wish.op === 'enqueue') return { ...wish, queue, claim_id: claimId(wish.claim) };
          const there = living.filter((one) => next.queues.includes(one.queue));
          const target = (wish.live === null ? undefined : there[wish.live % there.length]) ?? {
            queue,
            claim_id: claimId(wish.claim),
          };
          return wish.op === 'release'
            ? { ...wish, ...target, fencing_token: token(target, wish.which) }
            : { ...wish, ...target };
        });
        // Runs come after the set-wise releases and before the others, so whether a release finds somebody to advance for
        // would differ.
        const items = wished.filter(
          ({ op, queue }) =>
            op !== 'enqueue' ||
            wished.every((other) => other.op === 'acquire' || other.queue !== queue || other.op === 'enqueue'),
        );
        const isLocked = next.locked !== undefined && !next.wait;
        const answers = await same(async (db) => {
          const locker = lockers.get(db);
          if (!isLocked || locker === undefined) return decide(db, items, { wait: next.wait });
          await locker('begin');
          await locker('select from signalbox.lines where queue = $1 for no key update', [next.locked]);
          const decided = await decide(db, items);
          await locker('commit');
          return decided;
        });
        const answered = answers.flatMap(({ item: number }) => (number === null ? [] : [number]));
        expect(answered.toSorted((a, b) => a - b)).toEqual(items.map((_, index) => index));
        break;
      }
      case 'take':
        await same((db) =>
          rowsOf<Answer>(db, 'select * from signalbox_v1.take($1)', [
            JSON.stringify([{ holder: 'h', max: next.max, ...next.source }]),
          ]),
        );
        break;
      case 'renew': {
        const fencing = token({ queue: next.queue, claim_id: claimId(next.claim) }, next.which);
        await same(async (db) => [await onQueue(db, next.queue).renew(claimId(next.claim), fencing)]);
        break;
      }
      case 'hear':
        await same((db) => onQueue(db, next.queue).lookAll([claimId(next.claim)], { hear: true }));
        break;
      case 'clock':
        clockMs += next.by;
        await twins.setClock(clockMs);
        break;
      case 'configure':
        await same((db) => onQueue(db, next.queue).configure(next.settings));
        break;
      case 'delete':
        // Tokens of a queue made again grow because the clock does; it must not stand still here.
        clockMs += 4000;
        await same((db) => onQueue(db, next.queue).delete({ force: true }));
        await twins.setClock(clockMs);
        await twins.both((db) => makeQueues(db, [next.queue]));
        break;
      case 'advance':
        await same((db) =>
          rowsOf<Answer>(db, 'select * from signalbox_v1.advance($1)', [[...queues, 'paused', 'zero']]),
        );
        expect(
          await rowsOf(twins.usual, 'select queue from signalbox.lines where signalbox.can_advance(queue)'),
        ).toEqual([]);
        break;
      default:
        next satisfies never;
    }
    await expectSoundQueues(twins.usual);
    await expectSameState(twins);
    await expectRoom(twins.usual, before);
  }
}

function claims(db: TestDatabase) {
  return rowsOf<{ queue: string; claim_id: string }>(
    db,
    `select queue, claim_id from (
       select queue, claim_id from signalbox.leases where state = 'held'
       union all select queue, claim_id from signalbox.waiting
       union all select queue, claim_id from signalbox.delayed) living
     order by 1, 2`,
  );
}

function holders(db: TestDatabase) {
  return rowsOf<{ holding: string }>(
    db,
    `select queue || ' ' || fencing_token as holding from signalbox.leases where state = 'held'`,
  );
}

/** A queue that has a holder it had not before has at most its limit of them. */
async function expectRoom(db: TestDatabase, before: readonly { holding: string }[]): Promise<void> {
  const crowded = await rowsOf(
    db,
    `select n.queue, n.concurrency_limit, sum(l.weight) from signalbox.lines n join signalbox.leases l using (queue)
     where l.state = 'held' group by 1, 2
     having sum(l.weight) > n.concurrency_limit and bool_or(l.queue || ' ' || l.fencing_token <> all($1))`,
    [before.map(({ holding }) => holding)],
  );
  expect(crowded).toEqual([]);
}

test('random batches keep every invariant, and set-wise or one by one they are answered and end alike', async () => {
  await using twins = await openTwins();
  const lockers = new Map<TestDatabase, TestDatabase['query']>();
  for (const db of [twins.usual, twins.single]) {
    const client = await db.connect();
    lockers.set(db, (sql, params = []) => client.query(sql, [...params]));
  }
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 25, maxLength: 45, size: 'max' }), async (steps) => {
      for (const locker of lockers.values()) await locker('rollback');
      await twins.clear();
      await twins.setClock(0);
      await twins.both(makeAll);
      await run(twins, lockers, steps);
    }),
    { seed: 3, numRuns: inject('isRepeat') ? 10 : 20, endOnFailure: true, interruptAfterTimeLimit: 90_000 },
  );
  expect((await twins.setWise()).released).toBeGreaterThan(0);
}, 240_000);

test('random batches of busy lines, handed over and joined set-wise or one by one, are answered and end alike', async () => {
  await using twins = await openTwins();
  await fc.assert(
    fc.asyncProperty(fc.array(busyStep, { minLength: 15, maxLength: 25, size: 'max' }), async (steps) => {
      await twins.clear();
      await twins.setClock(0);
      await twins.both(makeAll);
      await run(twins, new Map(), steps);
    }),
    { seed: 5, numRuns: inject('isRepeat') ? 12 : 24, endOnFailure: true, interruptAfterTimeLimit: 90_000 },
  );
  const { released, held, waiting } = await twins.setWise();
  expect(Math.min(released, held, waiting)).toBeGreaterThan(10);
}, 180_000);
