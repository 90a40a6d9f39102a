import fc from 'fast-check';
import { expect, inject, test } from 'vitest';
import { sqlStateOf } from '../../support/blocked.ts';
import { stopClock } from '../../support/database-clock.ts';
import { freshDatabase, type TestDatabase } from '../../support/database.ts';
import { orderFields, orderSettings } from '../../support/order-draws.ts';
import { expectSoundQueues } from '../../support/sound-queues.ts';
import {
  decide,
  enqueueBySql,
  enqueueItem,
  makeQueues,
  oneOf,
  onQueue,
  rowsOf,
  take,
} from '../../support/sql-verbs.ts';

const run = fc.integer({ min: 0, max: 11 }).map((number) => `run.${number}`);
const claim = fc.integer({ min: 0, max: 5 }).map((number) => `claim.${number}`);
const any = fc.oneof({ weight: 3, arbitrary: run }, { weight: 1, arbitrary: claim });
const worker = fc.constantFrom('one', 'two', 'three');
const enqueue = {
  claim: run,
  priority: fc.integer({ min: -1, max: 1 }),
  delay_ms: fc.constantFrom(0, 0, 0, 5000),
  max_attempts: fc.constantFrom(undefined, 1, 2),
  max_age_ms: fc.constantFrom(undefined, undefined, 60_000),
  ...orderFields,
};
const step = fc.oneof(
  { weight: 6, arbitrary: fc.record({ do: fc.constant('enqueue' as const), ...enqueue }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('enqueueBySql' as const), ...enqueue }) },
  {
    weight: 7,
    arbitrary: fc.record({
      do: fc.constant('take' as const),
      worker,
      max: fc.constantFrom(1, 1, 2, 5),
      from: fc.constantFrom('queue', 'prefix'),
      request: fc.constantFrom(undefined, undefined, 'r1', 'r2'),
    }),
  },
  {
    weight: 7,
    arbitrary: fc.record({
      do: fc.constant('release' as const),
      which: fc.nat({ max: 5 }),
      isOld: fc.boolean(),
      outcome: fc.constantFrom(undefined, 'success', 'failure', 'retry', 'retry', 'retry'),
      retry_after_ms: fc.constantFrom(undefined, 0, 4000),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('giveBack' as const), which: fc.nat({ max: 5 }) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('renewAll' as const), worker }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('acquire' as const), claim: any }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constantFrom('cancel' as const, 'break' as const), claim: any }) },
  {
    weight: 3,
    arbitrary: fc.record({ do: fc.constant('clock' as const), by: fc.integer({ min: -2000, max: 25_000 }) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant('configure' as const),
      settings: fc.constantFrom<object>(
        { concurrency_limit: 1 },
        { concurrency_limit: 2 },
        { concurrency_limit: 0 },
        { concurrency_limit: null },
        { paused: true },
        { paused: false, concurrency_limit: 3 },
        { on_failure: null },
        { on_failure: 'stop' },
        { on_failure: 'wait' },
        { on_failure: 'step_around' },
        { lock_delay_ms: 3000 },
        { lock_delay_ms: 0 },
        { max_runs: 4 },
        { max_runs: null },
        ...orderSettings,
      ),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constantFrom('retry' as const, 'skip' as const), claim: run }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant('sweep' as const),
      chore: fc.constantFrom('inbox', 'due', 'overdue', 'silent', 'leases', 'lines', 'registers'),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constantFrom('advance' as const, 'unblock' as const, 'redrive' as const, 'purge' as const),
    }),
  },
);
type Step = typeof step extends fc.Arbitrary<infer S> ? S : never;

type SetClock = (ms: number) => Promise<void>;

async function clear(db: TestDatabase, setClock: SetClock): Promise<void> {
  await setClock(0);
  const tables = await rowsOf<{ name: string }>(
    db,
    `select string_agg(format('signalbox.%I', tablename), ', ') as name from pg_tables
     where schemaname = 'signalbox' and tablename = any($1)`,
    [
      [
        ...['waiting', 'leases', 'wide_slots', 'heard', 'lines', 'queues', 'history', 'events'],
        ...['runs', 'delayed', 'inbox', 'dead_letters', 'ready_queues', 'taken', 'takes', 'turns', 'batches'],
      ],
    ],
  );
  await db.query(`truncate ${tables[0]?.name ?? ''}`);
}

/** Operations on one queue and its clock; after each, everything that must hold is looked at. */
async function play(
  db: TestDatabase,
  setClock: SetClock,
  name: string,
  steps: readonly Step[],
  startLimit: number | null,
): Promise<void> {
  await makeQueues(db, [name], { concurrency_limit: startLimit, max_hold_ms: 200_000, max_attempts: 3 });
  const queue = onQueue(db, name);
  const tokens: { claim: string; token: number }[] = [];
  const tokenOf = (which: number, isOld: boolean) =>
    (isOld ? tokens[which % tokens.length] : tokens.at(-1 - (which % tokens.length))) ?? { claim: 'run.0', token: 1 };
  // Never at the end of its term, whatever the clock does.
  await rowsOf(db, `select * from signalbox_v1.campaign('leader', 864000000)`);
  const { epoch } = await oneOf(db, 'select epoch from signalbox.orchestrator_lock');
  let clockMs = 0;
  for (const [round, next] of steps.entries()) {
    const heldBefore = await holders(db);
    switch (next.do) {
      case 'enqueue':
        await queue.enqueue(next.claim, next);
        break;
      case 'enqueueBySql':
        // The id of an acquired claim is refused.
        expect([undefined, '23505']).toContain(await sqlStateOf(enqueueBySql(db, name, next.claim, next)));
        break;
      case 'take': {
        const source = next.from === 'queue' ? { queue: name } : { prefix: name.slice(0, 1) };
        const { claims } = await take(db, {
          ...source,
          holder: next.worker,
          max: next.max,
          request_id: next.request,
        });
        expect(claims.length).toBeLessThanOrEqual(next.request === undefined ? next.max : 5);
        for (const { claim_id, body } of claims) tokens.push({ claim: claim_id ?? '', token: body.fencing_token });
        break;
      }
      case 'release': {
        const { claim: id, token } = tokenOf(next.which, next.isOld);
        await queue.release(id, token, next);
        break;
      }
      case 'giveBack': {
        const { claim: id, token } = tokenOf(next.which, false);
        // Only a grant that nobody learnt of is given back, so never one of a claim.
        if (id.startsWith('run')) await queue.giveBack(id, token);
        break;
      }
      case 'renewAll':
        await rowsOf(db, 'select * from signalbox_v1.renew_held($1, null)', [next.worker]);
        break;
      case 'acquire': {
        const answer = await queue.acquire(next.claim, { holder: 'one' });
        if (answer.code === 'held') tokens.push({ claim: next.claim, token: answer.body.fencing_token });
        break;
      }
      case 'cancel':
        await queue.cancel(next.claim);
        break;
      case 'break':
        await queue.break(next.claim);
        break;
      case 'clock':
        clockMs += next.by;
        await setClock(clockMs);
        break;
      case 'configure':
        await queue.configure(next.settings);
        break;
      case 'advance':
        await queue.advance();
        break;
      case 'retry':
        await rowsOf(db, `select * from signalbox_v1.retry_run($1, $2, 'tester')`, [name, next.claim]);
        break;
      case 'skip':
        await rowsOf(db, `select * from signalbox_v1.skip_run($1, $2, 'tester')`, [name, next.claim]);
        break;
      case 'unblock':
        await rowsOf(db, `select * from signalbox_v1.unblock($1, 'tester')`, [name]);
        break;
      case 'sweep':
        await rowsOf(db, `select * from signalbox_v1.sweep_${next.chore}('leader', $1)`, [epoch]);
        break;
      case 'redrive':
      case 'purge':
        await rowsOf(db, `select * from signalbox_v1.${next.do}($1, null, 'tester')`, [name]);
        break;
      default:
        next satisfies never;
    }
    await expectSoundQueues(db);
    await expectRoom(db, heldBefore, round);
    await queue.advance();
    const { can } = await oneOf(db, 'select signalbox.can_advance($1) as can', [name]);
    expect([round, next.do, can]).toEqual([round, next.do, false]);
  }
}

async function holders(db: TestDatabase): Promise<string[]> {
  const rows = await rowsOf<{ token: string }>(
    db,
    `select fencing_token as token from signalbox.leases where state = 'held'`,
  );
  return rows.map(({ token }) => token);
}

/** A queue that has a holder it had not before has at most its limit of them. */
async function expectRoom(db: TestDatabase, before: readonly string[], round: number): Promise<void> {
  const crowded = await rowsOf(
    db,
    `select n.concurrency_limit, count(*) from signalbox.lines n join signalbox.leases l using (queue)
     where l.state = 'held' group by 1
     having count(*) > n.concurrency_limit and bool_or(l.fencing_token <> all($1))`,
    [before],
  );
  expect([round, crowded]).toEqual([round, []]);
}

test.each([
  { width: 'limit 1', limit: 1, seed: 4 },
  { width: 'limit 3', limit: 3, seed: 5 },
  { width: 'wide', limit: null, seed: 6 },
])(
  'random operations on runs and claims keep every invariant: $width',
  async ({ limit, seed }) => {
    await using db = await freshDatabase();
    const setClock = await stopClock(db);
    let count = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 40, maxLength: 80, size: 'max' }), async (steps) => {
        await clear(db, setClock);
        await play(db, setClock, `q${count++}`, steps, limit);
      }),
      { seed, numRuns: inject('isRepeat') ? 6 : 12, endOnFailure: true, interruptAfterTimeLimit: 60_000 },
    );
  },
  120_000,
);

const orderly = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constant('enqueue' as const),
      by: fc.constantFrom('http', 'sql'),
      count: fc.integer({ min: 1, max: 4 }),
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({ do: fc.constant('take' as const), worker, max: fc.integer({ min: 1, max: 3 }) }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant('release' as const),
      outcome: fc.constantFrom(undefined, 'success', 'failure', 'retry', 'retry', 'retry'),
      retry_after_ms: fc.constantFrom(undefined, 0, 4000),
    }),
  },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('clock' as const), by: fc.integer({ min: 0, max: 20_000 }) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('die' as const) }) },
);

test('at limit 1 with policy wait, runs are granted strictly in order and never two at once, whatever fails', async () => {
  await using db = await freshDatabase();
  const setClock = await stopClock(db);
  await fc.assert(
    fc.asyncProperty(fc.array(orderly, { minLength: 40, maxLength: 80, size: 'max' }), async (steps) => {
      await clear(db, setClock);
      await makeQueues(db, ['q'], { max_attempts: 3, retry_delay_ms: 2000 });
      const queue = onQueue(db, 'q');
      /** Runs that are not over, in the order of their enqueues. */
      let left: string[] = [];
      let holding: { id: string; token: number } | undefined;
      let clockMs = 0;
      let number = 0;
      for (const next of steps) {
        switch (next.do) {
          case 'enqueue': {
            const ids = Array.from({ length: next.count }, () => `run.${number++}`);
            if (next.by === 'sql') for (const id of ids) await enqueueBySql(db, 'q', id);
            else
              await decide(
                db,
                ids.map((id) => enqueueItem('q', id)),
              );
            left = [...left, ...ids];
            break;
          }
          case 'take': {
            const { claims } = await queue.take(next.max, { holder: next.worker });
            // What held it may have run out meanwhile; what follows it may not have started.
            expect(claims.length).toBeLessThanOrEqual(1);
            const [first] = claims;
            if (first === undefined) break;
            if (holding !== undefined) expect((await queue.renew(holding.id, holding.token)).code).toBe('lease_lost');
            left = await stillThere(db, left);
            expect(first.claim_id).toBe(left[0]);
            holding = { id: first.claim_id ?? '', token: first.body.fencing_token };
            break;
          }
          case 'release':
            if (holding === undefined) break;
            await queue.release(holding.id, holding.token, next);
            holding = undefined;
            break;
          case 'clock':
            clockMs += next.by;
            await setClock(clockMs);
            break;
          case 'die':
            clockMs += 31_000;
            await setClock(clockMs);
            await queue.advance();
            break;
          default:
            next satisfies never;
        }
        await expectSoundQueues(db);
      }
    }),
    { seed: 7, numRuns: inject('isRepeat') ? 6 : 12, endOnFailure: true, interruptAfterTimeLimit: 60_000 },
  );
}, 120_000);

async function stillThere(db: TestDatabase, ids: readonly string[]): Promise<string[]> {
  const ended = await rowsOf<{ claim_id: string }>(db, 'select claim_id from signalbox.history where final');
  return ids.filter((id) => !ended.some((row) => row.claim_id === id));
}
