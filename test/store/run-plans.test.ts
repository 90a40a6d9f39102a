import type pg from 'pg';
import { expect, inject, test } from 'vitest';
import { freshDatabase, type TestDatabase } from '../support/database.ts';
import {
  acquireItem,
  decide,
  enqueueBySql,
  enqueueItem,
  makeQueues,
  oneOf,
  onQueue,
  releaseItem,
  renewHeld,
  rowsOf,
  take,
} from '../support/sql-verbs.ts';

interface Touched {
  readonly heap: number;
  readonly index: number;
  readonly scans: number;
}

/** Blocks of `delayed` that this connection's statements have touched, and how often it was read whole. */
async function delayedTouched(client: pg.Client): Promise<Touched> {
  await client.query('select pg_stat_force_next_flush()');
  return oneOf(
    client,
    `select (heap_blks_read + heap_blks_hit)::int as heap, (idx_blks_read + idx_blks_hit)::int as index,
       (select seq_scan::int from pg_stat_user_tables t where t.relid = s.relid) as scans
     from pg_statio_user_tables s where relname = 'delayed'`,
  );
}

async function touchedBy(client: pg.Client, work: () => Promise<unknown>): Promise<Touched> {
  const before = await delayedTouched(client);
  await work();
  const after = await delayedTouched(client);
  return { heap: after.heap - before.heap, index: after.index - before.index, scans: after.scans - before.scans };
}

/** One of each verb that grants or ends something in `q`. */
async function useQueue(client: pg.Client, round: string): Promise<void> {
  const queue = onQueue(client, 'q');
  const [token = 0] = await queue.hold(`${round}.claim`);
  await queue.release(`${round}.claim`, token);
  await queue.enqueue(`${round}.run`);
  for (const source of [{ queue: 'q' }, { prefix: 'q' }]) {
    const { claims } = await take(client, source);
    const [taken] = claims;
    expect([source, taken?.claim_id]).toEqual([source, `${round}.run`]);
    const outcome = 'queue' in source ? { outcome: 'retry', retry_after_ms: 0 } : { outcome: 'success' };
    await queue.release(`${round}.run`, taken?.body.fencing_token ?? 0, outcome);
  }
  await queue.acquire(`${round}.waits`);
  await queue.break(`${round}.waits`);
}

const many = inject('isRepeat') ? 100_000 : 1_000_000;

test.each([
  ['one queue', `'q'`],
  ['10,000 queues', `'other.' || n % 10000`],
])(
  `with ${many.toLocaleString('en')} runs that wait for their time in %s, grants and endings touch no row of them`,
  async (_, queueOf) => {
    await using db = await freshDatabase();
    // As autovacuum leaves it a minute after the migration: the state in which plans are usually made.
    await db.query('vacuum analyze');
    await db.query('alter table signalbox.delayed set (autovacuum_enabled = off)');
    await makeQueues(db, ['q'], { on_failure: 'step_around' });
    const client = await db.connect();
    await useQueue(client, 'fresh');
    const fresh = await touchedBy(client, () => useQueue(client, 'again'));
    await db.query(
      `insert into signalbox.delayed (queue, claim_id, kind, seq, priority, mode, holder, ttl_ms, lapsed_offers, labels,
         metadata, enqueued_at, attempts, due_at, blocks)
       select ${queueOf}, 'later.' || n, 'run', n, 0, 'wait', '', 30000, 0, '{}', '{}', now(), 1,
         now() + interval '1 hour' + make_interval(secs => n), false
       from generate_series(1, ${many}) n`,
    );
    await db.query(
      `update signalbox.lines set delayed = ${many}, next_seq = ${many} + 1, next_due_at = now() + interval '1 hour'
       where queue = 'q' and exists (select from signalbox.delayed where queue = 'q')`,
    );
    const full = await touchedBy(client, () => useQueue(client, 'full'));
    expect([full.heap, full.scans]).toEqual([0, 0]);
    // A probe by id goes down an index that is two or three pages deeper now.
    expect(full.index).toBeLessThan(fresh.index + 60);
  },
  180_000,
);

/** Rows that this database's statements read: by sequential scans, and entries and rows through indexes. */
async function rowsRead(client: pg.Client): Promise<number> {
  await client.query('select pg_stat_force_next_flush()');
  const { read } = await oneOf<{ read: number }>(
    client,
    `select ((select sum(seq_tup_read + coalesce(idx_tup_fetch, 0)) from pg_stat_user_tables)
       + (select sum(idx_tup_read) from pg_stat_user_indexes))::int as read`,
  );
  return read;
}

const used = Array.from({ length: 10 }, (_, index) => `used${index}`);

/** Every verb of runs on the used queues, on one connection and so with the plans it has cached. */
async function useRuns(client: pg.Client, round: string): Promise<void> {
  await decide(
    client,
    used.map((queue) => enqueueItem(queue, `${round}.a`)),
  );
  await decide(
    client,
    used.map((queue) => enqueueItem(queue, `${round}.b`, { delay_ms: 3_600_000 })),
  );
  await enqueueBySql(client, 'used0', `${round}.c`);
  const first = await take(client, { prefix: 'used', max: 10 });
  expect(first.ids).toHaveLength(10);
  await renewHeld(client, 'worker');
  const outcomes = ['success', 'retry', 'failure', 'success', 'success'];
  await decide(
    client,
    first.claims.map(({ queue, claim_id, body }, index) =>
      releaseItem(queue, claim_id ?? '', body.fencing_token, { outcome: outcomes[index % 5], retry_after_ms: 0 }),
    ),
  );
  const rest = await take(client, { prefix: 'used', max: 10, request_id: round });
  expect(rest.ids.toSorted()).toEqual([`${round}.a`, `${round}.a`, `${round}.c`]);
  expect((await take(client, { prefix: 'used', max: 10, request_id: round })).ids).toHaveLength(3);
  await decide(
    client,
    rest.claims.map(({ queue, claim_id, body }) => releaseItem(queue, claim_id ?? '', body.fencing_token)),
  );
  await decide(
    client,
    used.map((queue) => acquireItem(queue, `${round}.claim`)),
  );
  await decide(
    client,
    used.map((queue) => ({ op: 'break', queue, claim_id: `${round}.claim` })),
  );
  await decide(
    client,
    used.map((queue) => ({ op: 'cancel', queue, claim_id: `${round}.b` })),
  );
  await rowsOf(client, 'select * from signalbox_v1.watch_takers($1)', [
    JSON.stringify([{ queue: 'used1' }, { prefix: 'used' }, { prefix: '' }]),
  ]);
  // What others have ready: one of theirs, and back.
  const [other] = (await take(client, { prefix: '' })).claims;
  if (other !== undefined)
    await decide(client, [
      { op: 'return', queue: other.queue, claim_id: other.claim_id, fencing_token: other.body.fencing_token },
    ]);
}

async function costOf(client: pg.Client, round: string): Promise<number> {
  const before = await rowsRead(client);
  await useRuns(client, round);
  return (await rowsRead(client)) - before;
}

const tables = [
  'queues',
  'lines',
  'leases',
  'waiting',
  'delayed',
  'runs',
  'dead_letters',
  'taken',
  'ready_queues',
  'inbox',
];

/** 10,000 queues of others with a run in line, one that is held, one delayed, one dead; and long lines in a few. */
async function fill(db: TestDatabase): Promise<void> {
  await db.query(
    `select signalbox_v1.ensure_queues((select array_agg('other' || n) from generate_series(1, 10000) n))`,
  );
  await db.query(`update signalbox.lines set runs = 10, dead = 1, delayed = 1, concurrency_limit = 9,
      next_due_at = now() + interval '1 hour', next_seq = 100 where queue like 'other%'`);
  await db.query(
    `insert into signalbox.leases (queue, slot, state, claim_id, holder, fencing_token, ttl_ms, priority, mode, seq,
       enqueued_at, acquired_at, renewed_at, expires_at, kind)
     select 'other' || n, 1, 'held', 'held', 'h' || n % 100, 1, 30000, 0, 'wait', 1, now(), now(), now(),
       now() + interval '1 hour', 'run'
     from generate_series(1, 10000) n`,
  );
  await db.query(
    `insert into signalbox.taken select 'h' || n % 100, 'other' || n, 1, 'held', 1 from generate_series(1, 10000) n`,
  );
  await db.query(
    `insert into signalbox.waiting (queue, claim_id, kind, seq, priority, mode, holder, ttl_ms, enqueued_at)
     select 'other' || n, 'run' || m, 'run', 10 + m, 0, 'wait', '', 30000, now()
     from generate_series(1, 10000) n, generate_series(1, 10) m`,
  );
  await db.query(
    `insert into signalbox.delayed (queue, claim_id, kind, seq, priority, mode, holder, ttl_ms, lapsed_offers, labels,
       metadata, enqueued_at, attempts, due_at, blocks)
     select 'other' || n, 'later', 'run', 50, 0, 'wait', '', 30000, 0, '{}', '{}', now(), 1, now() + interval '1 hour',
       false from generate_series(1, 10000) n`,
  );
  await db.query(
    `insert into signalbox.runs (queue, claim_id, payload, max_attempts)
     select queue, claim_id, '1', 1000 from (
       select queue, claim_id from signalbox.waiting union all select queue, claim_id from signalbox.delayed
       union all select queue, claim_id from signalbox.taken) r where queue like 'other%'`,
  );
  await db.query(
    `insert into signalbox.dead_letters (queue, claim_id, reason, holder, attempts, max_attempts, priority, seq, labels,
       metadata, enqueued_at, died_at, blocks)
     select 'other' || n, 'dead', 'failure', 'h', 1, 1, 0, 51, '{}', '{}', now(), now(), false
     from generate_series(1, 10000) n`,
  );
  await db.query(
    `insert into signalbox.ready_queues select 'other' || n, now() - interval '1 hour' from generate_series(1, 10000) n`,
  );
  await db.query(
    `insert into signalbox.inbox (queue, claim_id, priority, labels, delay_ms, enqueued_at)
     select 'nowhere' || n % 10, 'inbox' || n, 0, '{}', 0, now() from generate_series(1, 20000) n`,
  );
}

/** Queues of a database that nobody analyses behind the test's back. */
async function makeUsed(db: TestDatabase): Promise<void> {
  for (const table of tables) await db.query(`alter table signalbox.${table} set (autovacuum_enabled = off)`);
  await makeQueues(db, used, { claim_memory_ms: 60_000 });
}

// A take looks at the first 256 ready queues, more than once; a table read whole would add 10,000 each time.
const slack = 2500;

test('plans of runs, cached on an empty schema, hold at 10,000 ready queues with 100,000 runs', async () => {
  await using db = await freshDatabase();
  await makeUsed(db);
  const client = await db.connect();
  await useRuns(client, 'fresh');
  const fresh = await costOf(client, 'still.fresh');
  await fill(db);
  expect(await costOf(client, 'full')).toBeLessThan(fresh + slack);
  await db.query('analyze');
  expect(await costOf(client, 'planned.again')).toBeLessThan(fresh + slack);
}, 120_000);

test('plans of runs, cached on drained tables, hold at 10,000 ready queues with 100,000 runs', async () => {
  await using db = await freshDatabase();
  await makeUsed(db);
  await fill(db);
  const client = await db.connect();
  await useRuns(client, 'at.first');
  for (const table of tables)
    await db.query(`delete from signalbox.${table} where queue like 'other%' or queue like 'nowhere%'`);
  await db.query('vacuum analyze');
  await useRuns(client, 'drained');
  const drained = await costOf(client, 'still.drained');
  await fill(db);
  expect(await costOf(client, 'full.again')).toBeLessThan(drained + slack);
}, 120_000);
