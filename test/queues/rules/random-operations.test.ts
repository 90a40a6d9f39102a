import fc from 'fast-check';
import { expect, inject, test } from 'vitest';
import { stopClock } from '../../support/database-clock.ts';
import { freshDatabase, type TestDatabase } from '../../support/database.ts';
import { orderFields, orderSettings } from '../../support/order-draws.ts';
import { makeQueues, oneOf, onQueue, rowsOf } from '../../support/sql-verbs.ts';
import { expectSoundQueues } from '../../support/sound-queues.ts';

const claim = fc.integer({ min: 0, max: 29 }).map((number) => `claim ${number}`);
const step = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant('acquire' as const),
      claim,
      priority: fc.integer({ min: -1, max: 1 }),
      mode: fc.constantFrom('wait', 'wait', 'skip_if_busy', 'latest_only'),
      listen_ms: fc.constantFrom(0, 3_600_000),
      ttl_ms: fc.constantFrom(1000, 30_000, 120_000),
      max_wait_ms: fc.constantFrom(undefined, undefined, undefined, 1000, 30_000),
      ...orderFields,
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant('release' as const),
      claim,
      isOld: fc.boolean(),
      outcome: fc.constantFrom(undefined, undefined, 'retry'),
      retry_after_ms: fc.constantFrom(0, 3000),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('renew' as const), claim, isOld: fc.boolean() }) },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constantFrom('cancel' as const, 'break' as const, 'hear' as const), claim }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constant('clock' as const), by: fc.integer({ min: -5000, max: 40_000 }) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant('limit' as const), limit: fc.constantFrom(0, 1, 2, 3, 5, 300, null) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant('settings' as const),
      paused: fc.boolean(),
      delay: fc.constantFrom(0, 5000),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant('policy' as const),
      policy: fc.constantFrom<object>(
        { supersede_by: 'branch' },
        { supersede_by: null },
        { cancel_in_progress: true },
        { cancel_in_progress: false },
        { max_waiting: 3, on_full: 'drop_oldest' },
        { max_waiting: 2, on_full: 'drop_last' },
        { max_waiting: null, max_wait_ms: 60_000 },
        { closed: true },
        { closed: false, max_wait_ms: null },
      ),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant('order' as const), settings: fc.constantFrom(...orderSettings) }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('advance' as const) }) },
);
type Step = typeof step extends fc.Arbitrary<infer S> ? S : never;

/** One queue, its clock, and every token each claim was ever told. */
async function run(
  db: TestDatabase,
  setClock: (ms: number) => Promise<void>,
  name: string,
  steps: readonly Step[],
  startLimit: number | null,
): Promise<void> {
  await makeQueues(db, [name], { concurrency_limit: startLimit, max_hold_ms: 200_000 });
  const queue = onQueue(db, name);
  const tokens = new Map<string, number[]>();
  const tokenOf = (claimId: string, isOld: boolean) => tokens.get(claimId)?.at(isOld ? 0 : -1) ?? 1;
  let clockMs = 0;
  let round = 0;
  for (const next of steps) {
    round++;
    const heldBefore = await queue.held();
    switch (next.do) {
      case 'acquire': {
        const answer = await queue.acquire(next.claim, next);
        if (answer.code === 'held')
          tokens.set(next.claim, [...(tokens.get(next.claim) ?? []), answer.body.fencing_token]);
        break;
      }
      case 'release':
        await queue.release(next.claim, tokenOf(next.claim, next.isOld), next);
        break;
      case 'renew':
        await queue.renew(next.claim, tokenOf(next.claim, next.isOld));
        break;
      case 'cancel':
        await queue.cancel(next.claim);
        break;
      case 'break':
        await queue.break(next.claim);
        break;
      case 'hear':
        await queue.lookAll([next.claim], { hear: true });
        break;
      case 'clock':
        clockMs += next.by;
        await setClock(clockMs);
        break;
      case 'limit':
        await queue.configure({ concurrency_limit: next.limit });
        break;
      case 'settings':
        await queue.configure({ paused: next.paused, lock_delay_ms: next.delay });
        break;
      case 'policy':
        await queue.configure(next.policy);
        break;
      case 'order':
        await queue.configure(next.settings);
        break;
      case 'advance':
        await queue.advance();
        break;
      default:
        next satisfies never;
    }
    await expectSoundQueues(db);
    const line = await oneOf<{ concurrency_limit: number | null; waiting: number }>(
      db,
      'select concurrency_limit, waiting from signalbox.lines where queue = $1',
      [name],
    );
    const held = await queue.held();
    const isNew = held.some((claimId) => !heldBefore.includes(claimId));
    const { places } = await oneOf<{ places: number }>(
      db,
      `select coalesce(sum(weight), 0)::integer as places from signalbox.leases where queue = $1 and state = 'held'`,
      [name],
    );
    if (isNew && line.concurrency_limit !== null)
      expect([round, next.do, places]).toEqual([round, next.do, Math.min(places, line.concurrency_limit)]);
    await queue.advance();
    const { can } = await oneOf(db, 'select signalbox.can_advance($1) as can', [name]);
    expect([round, next.do, can]).toEqual([round, next.do, false]);
    const { idle } = await oneOf(
      db,
      `select exists (select from signalbox.lines n cross join lateral (
           select w.weight from signalbox.waiting w where w.queue = n.queue and w.kind = 'claim'
           order by w.place, w.seq, w.rank limit 1) w
         where n.queue = $1 and not n.paused
           and (n.concurrency_limit is null or n.concurrency_limit > 0
             and n.concurrency_limit - least(w.weight, n.concurrency_limit) >= (
               select coalesce(sum(l.weight), 0) from signalbox.leases l
               where l.queue = n.queue and (l.state = 'held' or l.free_after > signalbox.clock())))) as idle`,
      [name],
    );
    expect([round, next.do, idle]).toEqual([round, next.do, false]);
  }
}

test.each([
  { width: 'narrow', limit: 2, seed: 1 },
  { width: 'wide', limit: null, seed: 2 },
])(
  'random operations on a $width queue keep every invariant',
  async ({ limit, seed }) => {
    await using db = await freshDatabase();
    const setClock = await stopClock(db);
    let count = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 30, maxLength: 60, size: 'max' }), async (steps) => {
        await setClock(0);
        await rowsOf(db, 'truncate signalbox.waiting, signalbox.leases, signalbox.wide_slots, signalbox.heard');
        await rowsOf(db, 'truncate signalbox.lines, signalbox.queues, signalbox.history, signalbox.events');
        await rowsOf(db, 'truncate signalbox.delayed, signalbox.turns, signalbox.batches');
        await run(db, setClock, `q${count++}`, steps, limit);
      }),
      { seed, numRuns: inject('isRepeat') ? 6 : 12, endOnFailure: false, interruptAfterTimeLimit: 60_000 },
    );
  },
  120_000,
);
