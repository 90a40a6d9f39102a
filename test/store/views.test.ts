import { expect, test } from 'vitest';
import { sqlStateOf } from '../support/blocked.ts';
import { moveClock } from '../support/database-clock.ts';
import { freshDatabase, type TestDatabase } from '../support/database.ts';
import { makeQueues, oneOf, onQueue, rowsOf } from '../support/sql-verbs.ts';

const documented = ['ended_claims', 'leader', 'leases', 'line', 'queues', 'recent_events'];

async function waitingFor(db: TestDatabase, queue: string) {
  const rows = await rowsOf<{ claim_id: string; waiting_for: string }>(
    db,
    'select claim_id, waiting_for from signalbox_v1.line where queue = $1 order by position',
    [queue],
  );
  // The view and the answer to a client say the same.
  for (const row of rows) expect((await onQueue(db, queue).look(row.claim_id)).body.waiting_for).toBe(row.waiting_for);
  return rows.map((row) => row.waiting_for);
}

test('line says why each claim waits', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['full', 'paused', 'zero', 'delayed']);
  for (const queue of ['full', 'paused', 'zero', 'delayed']) {
    await onQueue(db, queue).hold('holder');
    await onQueue(db, queue).acquire('first');
    await onQueue(db, queue).acquire('second');
  }
  await onQueue(db, 'paused').configure({ paused: true });
  await onQueue(db, 'zero').configure({ concurrency_limit: 0 });
  await onQueue(db, 'delayed').configure({ lock_delay_ms: 60_000 });
  await onQueue(db, 'delayed').break('holder');

  expect(await waitingFor(db, 'full')).toEqual(['no_free_slot', 'behind_others']);
  expect(await waitingFor(db, 'paused')).toEqual(['paused', 'paused']);
  expect(await waitingFor(db, 'zero')).toEqual(['limit_zero', 'limit_zero']);
  expect(await waitingFor(db, 'delayed')).toEqual(['lock_delay', 'behind_others']);
});

test('a wide queue in lock delay says so too', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q'], { concurrency_limit: null, lock_delay_ms: 60_000 });
  await onQueue(db, 'q').configure({ concurrency_limit: 1 });
  await onQueue(db, 'q').hold('holder');
  await onQueue(db, 'q').acquire('first');
  await onQueue(db, 'q').break('holder');
  expect(await waitingFor(db, 'q')).toEqual(['lock_delay']);
});

test('line has position, ahead and who listens, in the order of the line', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q']);
  const queue = onQueue(db, 'q');
  await queue.hold('holder');
  await queue.acquire('a', { listen_ms: 0 });
  await queue.acquire('b');
  await queue.acquire('urgent', { priority: 1 });
  expect(
    await rowsOf(
      db,
      `select position::int, ahead::int, claim_id, priority, listening from signalbox_v1.line where queue = 'q'
       order by position`,
    ),
  ).toEqual([
    { position: 1, ahead: 0, claim_id: 'urgent', priority: 1, listening: true },
    { position: 2, ahead: 1, claim_id: 'a', priority: 0, listening: false },
    { position: 3, ahead: 2, claim_id: 'b', priority: 0, listening: true },
  ]);
});

test('leases and queues show a lease that ran out and that nobody has ended yet', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q'], { concurrency_limit: 2 });
  const queue = onQueue(db, 'q');
  await queue.hold('short');
  await queue.acquire('long', { ttl_ms: 120_000 });
  await moveClock(db, 31_000);
  expect(
    await rowsOf(
      db,
      `select claim_id, slot, expired_not_reaped, ttl_remaining_ms > 0 as has_time from signalbox_v1.leases order by slot`,
    ),
  ).toEqual([
    { claim_id: 'short', slot: 1, expired_not_reaped: true, has_time: false },
    { claim_id: 'long', slot: 2, expired_not_reaped: false, has_time: true },
  ]);
  const counts = `select held::int, expired_not_reaped::int as expired, waiting, draining::int from signalbox_v1.queues`;
  expect(await oneOf(db, counts)).toEqual({ held: 2, expired: 1, waiting: 0, draining: 0 });
  await queue.advance();
  expect(await oneOf(db, counts)).toEqual({ held: 1, expired: 0, waiting: 0, draining: 0 });
});

test('queues shows how many holders are above a lowered limit, and how long the oldest has waited', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q'], { concurrency_limit: 3 });
  const queue = onQueue(db, 'q');
  const [a = 0] = await queue.hold('a', 'b', 'c');
  await queue.acquire('d');
  await queue.configure({ concurrency_limit: 1 });
  await moveClock(db, 5000);
  const counts = `select held::int, waiting, draining::int, oldest_wait_ms between 5000 and 25000 as waited
    from signalbox_v1.queues`;
  expect(await oneOf(db, counts)).toEqual({ held: 3, waiting: 1, draining: 2, waited: true });
  await queue.release('a', a);
  expect(await oneOf(db, counts)).toEqual({ held: 2, waiting: 1, draining: 1, waited: true });
  await queue.configure({ concurrency_limit: null });
  expect(await oneOf(db, 'select concurrency_limit, draining::int from signalbox_v1.queues')).toEqual({
    concurrency_limit: null,
    draining: 0,
  });
});

test('leader shows who leads, and that nobody does after resigning or running out', async () => {
  await using db = await freshDatabase();
  const read = () => rowsOf(db, 'select leader, epoch::int, leads from signalbox_v1.leader');
  const before = await read();
  expect(before.every(({ leads }) => leads === false)).toBe(true);
  await db.query(`select signalbox_v1.campaign('r1', 10000)`);
  expect(await read()).toEqual([{ leader: 'r1', epoch: 1, leads: true }]);
  await moveClock(db, 10_100);
  expect(await read()).toEqual([{ leader: 'r1', epoch: 1, leads: false }]);
  await db.query(`select signalbox_v1.campaign('r2', 10000)`);
  await db.query(`select signalbox_v1.resign('r2', 2)`);
  expect(await read()).toEqual([{ leader: null, epoch: 2, leads: false }]);
});

test('ended_claims and recent_events tell what happened to a claim', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q']);
  const queue = onQueue(db, 'q');
  await queue.hold('a');
  await queue.acquire('b');
  await queue.break('a');
  expect(
    await rowsOf(db, `select claim_id, state, reason, final, slot, actor, detail from signalbox_v1.ended_claims`),
  ).toEqual([
    { claim_id: 'a', state: 'broken', reason: 'broken', final: true, slot: 1, actor: 'tester', detail: 'test' },
  ]);
  const events = await rowsOf<{ type: string }>(db, `select type from signalbox_v1.recent_events where queue = 'q'`);
  expect(events.map(({ type }) => type).slice(0, 4)).toEqual([
    'lease.granted',
    'lease.broken',
    'claim.queued',
    'lease.granted',
  ]);
});

test('the views are exactly the documented ones, and the reader role may read them and nothing else', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q']);
  await onQueue(db, 'q').hold('a');
  await onQueue(db, 'q').acquire('b');
  await db.query(`select signalbox_v1.campaign('r1', 10000)`);
  const views = await rowsOf<{ name: string }>(
    db,
    `select relname as name from pg_class where relnamespace = 'signalbox_v1'::regnamespace and relkind = 'v' and relname <> 'tokens' order by 1`,
  );
  expect(views.map(({ name }) => name)).toEqual(documented);
  // Tokens are for those who manage them, not for readers.
  const isThere = await sqlStateOf(db.query('select from signalbox_v1.tokens'));
  const tables = await rowsOf<{ name: string }>(
    db,
    `select relname as name from pg_class where relnamespace = 'signalbox'::regnamespace and relkind in ('r', 'p')`,
  );
  const functions = await rowsOf<{ name: string; call: string }>(
    db,
    `select proname as name, format('%s.%I(%s)', pronamespace::regnamespace, proname, (
       select string_agg(format('null::%I.%I', t.typnamespace::regnamespace, t.typname), ', ' order by a.n)
       from unnest(proargtypes) with ordinality a(id, n) join pg_type t on t.oid = a.id)) as call
     from pg_proc where pronamespace in ('signalbox'::regnamespace, 'signalbox_v1'::regnamespace)`,
  );

  const reader = await db.connect();
  await reader.query('set role signalbox_reader');
  for (const view of documented) {
    const state = await sqlStateOf(reader.query(`select * from signalbox_v1.${view}`));
    expect([view, state]).toEqual([view, undefined]);
    expect([view, await sqlStateOf(reader.query(`delete from signalbox_v1.${view}`))]).not.toEqual([view, undefined]);
  }
  if (isThere === undefined) expect(await sqlStateOf(reader.query('select from signalbox_v1.tokens'))).toBe('42501');
  for (const { name } of tables)
    expect([name, await sqlStateOf(reader.query(`select from signalbox.${name}`))]).toEqual([name, '42501']);
  for (const { name, call } of functions)
    expect([name, await sqlStateOf(reader.query(`select ${call}`))]).toEqual([name, '42501']);
});
