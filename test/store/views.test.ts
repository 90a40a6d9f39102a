import { expect, test } from 'vitest';
import { sqlStateOf } from '../support/blocked.ts';
import { moveClock } from '../support/database-clock.ts';
import { freshDatabase, type TestDatabase } from '../support/database.ts';
import { onRuns } from '../support/sql-runs.ts';
import { makeQueues, oneOf, onQueue, rowsOf } from '../support/sql-verbs.ts';

const documented = [
  'blocked_queues',
  'dead_letters',
  ...['ended_claims', 'failover', 'leader'],
  'leases',
  'line',
  'merge_queues',
  'merge_requests',
  ...['queue_patterns', 'queue_settings', 'queues'],
  'recent_events',
  'runs',
  'webhooks',
];
/** For those who manage tokens, and those who may know what users put into their runs. */
const unshared = ['payloads', 'tokens'];

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
    `select relname as name from pg_class where relnamespace = 'signalbox_v1'::regnamespace and relkind = 'v' order by 1`,
  );
  expect(views.map(({ name }) => name)).toEqual([...documented, ...unshared].sort());
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
  for (const view of unshared)
    expect([view, await sqlStateOf(reader.query(`select from signalbox_v1.${view}`))]).toEqual([view, '42501']);
  for (const { name } of tables)
    expect([name, await sqlStateOf(reader.query(`select from signalbox.${name}`))]).toEqual([name, '42501']);
  for (const { name, call } of functions)
    expect([name, await sqlStateOf(reader.query(`select ${call}`))]).toEqual([name, '42501']);
});

test('the enqueuer role may enqueue and nothing else', async () => {
  await using db = await freshDatabase();
  const enqueuer = await db.connect();
  await enqueuer.query('set role signalbox_enqueuer');
  expect(await sqlStateOf(enqueuer.query(`select signalbox_v1.enqueue('q', 'r', '1')`))).toBeUndefined();
  expect(await sqlStateOf(enqueuer.query('select from signalbox.inbox'))).toBe('42501');
  expect(await sqlStateOf(enqueuer.query('select from signalbox_v1.runs'))).toBe('42501');
  expect(
    await rowsOf(
      db,
      `select proname from pg_proc
       where pronamespace in ('signalbox'::regnamespace, 'signalbox_v1'::regnamespace)
         and has_function_privilege('signalbox_enqueuer', oid, 'execute')`,
    ),
  ).toEqual([{ proname: 'enqueue' }]);
});

/** Runs of a queue as the view shows them, those in line first. */
function runsOf(db: TestDatabase, queue: string, columns: string) {
  return rowsOf(
    db,
    `select ${columns} from signalbox_v1.runs where queue = $1
     order by array_position(array['waiting', 'delayed', 'held', 'inbox'], state), position, claim_id`,
    [queue],
  );
}

test('runs shows every run that is not over, wherever it is, and payloads what it carries', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q'], { concurrency_limit: 1, on_failure: 'step_around' });
  const q = onRuns(db, 'q');
  for (const id of ['retried', 'a', 'b']) await q.enqueue(id, { payload: `"of ${id}"`, max_age_ms: 60_000 });
  await q.work('retried', { outcome: 'retry', retry_after_ms: 60_000 });
  await q.enqueue('urgent', { priority: 5, max_attempts: 2 });
  expect(await q.take()).toMatchObject([{ claim_id: 'urgent' }]);
  await q.enqueueBySql('sql', '1');
  expect(
    await runsOf(db, 'q', 'claim_id, state, position, waiting_for, attempts, max_attempts, holder, blocks'),
  ).toEqual([
    {
      claim_id: 'a',
      state: 'waiting',
      position: 1,
      waiting_for: 'no_free_slot',
      attempts: 0,
      max_attempts: 5,
      holder: null,
      blocks: false,
    },
    {
      claim_id: 'b',
      state: 'waiting',
      position: 2,
      waiting_for: 'behind_others',
      attempts: 0,
      max_attempts: 5,
      holder: null,
      blocks: false,
    },
    {
      claim_id: 'retried',
      state: 'delayed',
      position: null,
      waiting_for: 'not_before',
      attempts: 1,
      max_attempts: 5,
      holder: null,
      blocks: false,
    },
    {
      claim_id: 'urgent',
      state: 'held',
      position: null,
      waiting_for: null,
      attempts: 1,
      max_attempts: 2,
      holder: 'worker',
      blocks: false,
    },
    {
      claim_id: 'sql',
      state: 'inbox',
      position: null,
      waiting_for: null,
      attempts: 0,
      max_attempts: null,
      holder: null,
      blocks: false,
    },
  ]);
  expect(await runsOf(db, 'q', 'claim_id, dead_after > enqueued_at as bounded, due_at is not null as later')).toEqual([
    { claim_id: 'a', bounded: true, later: false },
    { claim_id: 'b', bounded: true, later: false },
    { claim_id: 'retried', bounded: true, later: true },
    { claim_id: 'urgent', bounded: null, later: false },
    { claim_id: 'sql', bounded: null, later: false },
  ]);
  expect(
    await rowsOf(db, 'select claim_id, state, payload::text from signalbox_v1.payloads order by claim_id'),
  ).toEqual([
    { claim_id: 'a', state: 'live', payload: '"of a"' },
    { claim_id: 'b', state: 'live', payload: '"of b"' },
    { claim_id: 'retried', state: 'live', payload: '"of retried"' },
    { claim_id: 'sql', state: 'inbox', payload: '1' },
    { claim_id: 'urgent', state: 'live', payload: null },
  ]);
});

test('runs says why each run waits, as the answer to a client does', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['free', 'paused', 'blocked'], { on_failure: 'stop' });
  for (const queue of ['free', 'paused', 'blocked'])
    for (const id of ['a', 'b', 'c']) await onRuns(db, queue).enqueue(id);
  await onQueue(db, 'paused').configure({ paused: true });
  await onRuns(db, 'blocked').work('a', { outcome: 'failure' });
  await onRuns(db, 'blocked').enqueue('before', { priority: 1 });
  const waits = async (queue: string) => {
    const rows = await rowsOf<{ claim_id: string; waiting_for: string }>(
      db,
      'select claim_id, waiting_for from signalbox_v1.runs where queue = $1 order by position',
      [queue],
    );
    for (const { claim_id: id, waiting_for: why } of rows)
      expect((await onQueue(db, queue).look(id)).body.waiting_for).toBe(why);
    return rows.map((row) => row.waiting_for);
  };
  expect(await waits('free')).toEqual(['taker', 'behind_others', 'behind_others']);
  expect(await waits('paused')).toEqual(['paused', 'paused', 'paused']);
  expect(await waits('blocked')).toEqual(['taker', 'blocked', 'blocked']);
});

test('positions of runs end behind the first 1,000, and 100,000 are listed within a few seconds', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q']);
  await db.query(`insert into signalbox.waiting (queue, claim_id, kind, seq, priority, mode, holder, ttl_ms, enqueued_at)
    select 'q', 'r' || n, 'run', n, 0, 'wait', '', 30000, signalbox.clock() from generate_series(1, 100000) n`);
  await db.query('analyze signalbox.waiting');
  expect(await oneOf(db, 'select count(*)::int as runs, max(position) as last from signalbox_v1.runs')).toEqual({
    runs: 100_000,
    last: 1000,
  });
  const plan = await rowsOf<{ 'QUERY PLAN': string }>(
    db,
    `explain (analyze, timing off) select * from signalbox_v1.runs where queue = 'q' and claim_id = 'r77777'`,
  );
  const ms = Number(/Execution Time: ([\d.]+)/.exec(plan.at(-1)?.['QUERY PLAN'] ?? '')?.[1]);
  expect(ms).toBeLessThan(100);
}, 30_000);

test('queues counts runs, what is delayed, dead letters and whether it is blocked', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q'], { on_failure: 'stop', max_attempts: 7, max_runs: null });
  const q = onRuns(db, 'q');
  for (const id of ['a', 'b']) await q.enqueue(id);
  await q.enqueue('later', { delay_ms: 60_000 });
  await onQueue(db, 'q').hold('claim');
  await onQueue(db, 'q').acquire('other');
  const read = () =>
    oneOf(
      db,
      `select waiting, runs, delayed, blocked, dead_letters, max_attempts, max_runs, on_failure, retry_delay_ms,
         oldest_wait_ms >= 0 as waits from signalbox_v1.queues`,
    );
  const settings = { max_attempts: 7, max_runs: null, on_failure: 'stop', retry_delay_ms: 1000 };
  expect(await read()).toEqual({
    waiting: 3,
    runs: 2,
    delayed: 1,
    blocked: false,
    dead_letters: 0,
    waits: true,
    ...settings,
  });
  for (const id of ['claim', 'other']) await onQueue(db, 'q').break(id);
  await q.work('a', { outcome: 'failure' });
  expect(await read()).toEqual({
    waiting: 1,
    runs: 1,
    delayed: 1,
    blocked: true,
    dead_letters: 1,
    waits: true,
    ...settings,
  });
});

test('how long the oldest has waited is that of any priority and either kind', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q']);
  const waited = async () =>
    Number((await oneOf<{ s: string }>(db, 'select round(oldest_wait_ms / 1000.0) as s from signalbox_v1.queues')).s);
  await onRuns(db, 'q').enqueue('low', { priority: -1 });
  await moveClock(db, 10_000);
  await onRuns(db, 'q').enqueue('high', { priority: 1 });
  await onQueue(db, 'q').hold('claim');
  await onQueue(db, 'q').acquire('waits');
  await moveClock(db, 20_000);
  expect(await waited()).toBeGreaterThanOrEqual(20);
  await onQueue(db, 'q').cancel('low');
  expect(await waited()).toBeLessThan(20);
});

test('blocked_queues shows what stops each line, in order, and since when', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['stopped', 'goes', 'waits']);
  await onQueue(db, 'stopped').configure({ on_failure: 'stop', concurrency_limit: 2 });
  for (const queue of ['stopped', 'goes', 'waits'])
    for (const id of ['a', 'b', 'c']) await onRuns(db, queue).enqueue(id);
  const [a, b] = await onRuns(db, 'stopped').take(2);
  await onRuns(db, 'stopped').release('b', b?.fencing_token ?? 0, { outcome: 'failure', error: 'of b' });
  await moveClock(db, 5000);
  await onRuns(db, 'stopped').release('a', a?.fencing_token ?? 0, {
    outcome: 'retry',
    retry_after_ms: 60_000,
    error: 'of a',
  });
  await onRuns(db, 'goes').work('a', { outcome: 'failure' });
  await onRuns(db, 'waits').work('a', { outcome: 'retry', retry_after_ms: 60_000 });
  expect(
    await rowsOf(
      db,
      `select queue, on_failure, waiting, delayed, blockers, place::int, claim_id, state, reason, attempts, error,
         due_at is not null as due, signalbox.clock() - since > interval '4 seconds' as earlier
       from signalbox_v1.blocked_queues order by queue, place`,
    ),
  ).toEqual([
    {
      queue: 'stopped',
      on_failure: 'stop',
      waiting: 1,
      delayed: 1,
      blockers: 2,
      place: 1,
      claim_id: 'a',
      state: 'delayed',
      reason: 'retry',
      attempts: 1,
      error: 'of a',
      due: true,
      earlier: true,
    },
    {
      queue: 'stopped',
      on_failure: 'stop',
      waiting: 1,
      delayed: 1,
      blockers: 2,
      place: 2,
      claim_id: 'b',
      state: 'dead',
      reason: 'failure',
      attempts: 1,
      error: 'of b',
      due: false,
      earlier: true,
    },
    {
      queue: 'waits',
      on_failure: 'wait',
      waiting: 2,
      delayed: 1,
      blockers: 1,
      place: 1,
      claim_id: 'a',
      state: 'delayed',
      reason: 'retry',
      attempts: 1,
      error: null,
      due: true,
      earlier: false,
    },
  ]);
});

test('dead_letters shows how the last grant ended, without what the run carries', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q']);
  await onRuns(db, 'q').enqueue('a', { payload: '"secret"' });
  await onRuns(db, 'q').work('a', { outcome: 'failure', error: 'no disk' });
  const row = await oneOf(db, 'select * from signalbox_v1.dead_letters');
  expect(row).toMatchObject({
    queue: 'q',
    claim_id: 'a',
    reason: 'failure',
    error: 'no disk',
    attempts: 1,
    blocks: false,
  });
  expect(JSON.stringify(row)).not.toContain('secret');
  expect(await oneOf(db, 'select kind, attempt, error, state from signalbox_v1.ended_claims')).toEqual({
    kind: 'run',
    attempt: 1,
    error: 'no disk',
    state: 'released',
  });
  expect(await rowsOf(db, 'select claim_id, state, payload::text from signalbox_v1.payloads')).toEqual([
    { claim_id: 'a', state: 'dead', payload: '"secret"' },
  ]);
});
