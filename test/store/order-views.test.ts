import type pg from 'pg';
import type { CompiledQuery } from 'kysely';
import { expect, test } from 'vitest';
import type { Database } from '../../src/store/database.ts';
import { readLine } from '../../src/store/queue-reads.ts';
import { freshDatabase, type TestDatabase } from '../support/database.ts';
import { decide, enqueueItem, makeQueues, onQueue, rowsOf } from '../support/sql-verbs.ts';

const standing = (db: TestDatabase) =>
  rowsOf(
    db,
    `select claim_id, ordered_by, round(extract(epoch from counts_from - enqueued_at))::integer as moved_by_s,
       rounds_ahead::integer from signalbox_v1.line where queue = 'q' order by position`,
  );

test('line and runs say what decides where each stands: by priority, by head start, in rotation, or from before', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q']);
  const queue = onQueue(db, 'q');
  await queue.hold('holder');
  await queue.acquire('old', { priority: 2 });
  const old = { claim_id: 'old', moved_by_s: null, rounds_ahead: null };
  expect(await standing(db)).toEqual([{ ...old, ordered_by: 'priority' }]);

  await queue.configure({ priority_head_start_ms: 60_000 });
  await queue.acquire('low');
  await queue.acquire('high', { priority: 2 });
  expect(await standing(db)).toEqual([
    { ...old, ordered_by: 'earlier_order' },
    { claim_id: 'high', ordered_by: 'head_start', moved_by_s: -120, rounds_ahead: null },
    { claim_id: 'low', ordered_by: 'head_start', moved_by_s: 0, rounds_ahead: null },
  ]);

  for (const id of ['old', 'low', 'high']) await queue.cancel(id);
  await queue.configure({ rotate_by: 'tenant' });
  for (const id of ['a1', 'a2', 'a3', 'b1']) await queue.acquire(id, { labels: { tenant: id.slice(0, 1) } });
  const rotation = { ordered_by: 'rotation', moved_by_s: null };
  expect(await standing(db)).toEqual([
    { claim_id: 'a1', ...rotation, rounds_ahead: 0 },
    { claim_id: 'b1', ...rotation, rounds_ahead: 0 },
    { claim_id: 'a2', ...rotation, rounds_ahead: 1 },
    { claim_id: 'a3', ...rotation, rounds_ahead: 2 },
  ]);
  // So does the sentence, to whoever sees those of others go first that came later.
  const taken = '1 of 1 places taken, by holder of holder';
  const why = [`next in line; ${taken}`, `1 ahead; ${taken}`];
  const turns = [
    `2 ahead, its turn comes in the next round; ${taken}`,
    `3 ahead, its turn comes in 2 rounds; ${taken}`,
  ];
  expect(await rowsOf(db, `select why from signalbox_v1.line order by position`)).toEqual(
    [...why, ...turns].map((sentence) => ({ why: sentence })),
  );
  const looks = await queue.lookAll(['a1', 'b1', 'a2', 'a3']);
  expect(looks.map(({ body }) => body.why)).toEqual([...why, ...turns]);

  await decide(
    db,
    ['r1', 'r2'].map((id) => enqueueItem('q', id)),
  );
  expect(
    await rowsOf(db, 'select claim_id, ordered_by, counts_from, rounds_ahead from signalbox_v1.runs order by position'),
  ).toEqual([
    { claim_id: 'r1', ordered_by: 'rotation', counts_from: null, rounds_ahead: '0' },
    { claim_id: 'r2', ordered_by: 'rotation', counts_from: null, rounds_ahead: '1' },
  ]);
  // Runs take turns apart from claims.
  expect((await queue.look('r2')).body.why).toBe(`1 ahead, its turn comes in the next round; ${taken}`);
});

/** Rows of `waiting` read so far by this connection. */
async function rowsRead(client: pg.Client): Promise<number> {
  await client.query('select pg_stat_force_next_flush()');
  const [row] = await rowsOf<{ rows: number }>(
    client,
    `select (seq_tup_read + idx_tup_fetch)::integer as rows from pg_stat_user_tables where relname = 'waiting'`,
  );
  return row?.rows ?? 0;
}

test('the head of a line of 20,000 is shown without a look at those behind it', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q']);
  await db.query(
    `insert into signalbox.waiting (queue, claim_id, seq, priority, mode, holder, ttl_ms, enqueued_at)
     select 'q', 'c' || n, n, 0, 'wait', 'h', 30000, signalbox.clock() from generate_series(1, 20000) n`,
  );
  await db.query('update signalbox.lines set waiting = 20000');
  await db.query('analyze signalbox.waiting');
  const client = await db.connect();
  // What was read is counted by connection, so this must be the one that reads.
  const database = {
    query: (_lane: string, { sql, parameters }: CompiledQuery) => rowsOf(client, sql, parameters),
  } as unknown as Database;
  const before = await rowsRead(client);
  const head = await readLine(database, 'q', 3);
  expect(head.map(({ claim_id }) => claim_id)).toEqual(['c1', 'c2', 'c3']);
  expect((await rowsRead(client)) - before).toBeLessThan(500);
});

test('how long the oldest has waited is found in a few rows of a line of 20,000, whatever its order', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q']);
  await db.query(
    `insert into signalbox.waiting (queue, claim_id, seq, priority, place, mode, holder, ttl_ms, enqueued_at)
     select 'q', 'c' || n, n, 0, case when n > 10000 then n else 0 end, 'wait', 'h', 30000,
       signalbox.clock() - interval '1 hour' + n * interval '1 ms' from generate_series(1, 20000) n`,
  );
  await db.query('update signalbox.lines set waiting = 20000');
  await db.query('analyze signalbox.waiting');
  const client = await db.connect();
  const before = await rowsRead(client);
  const [queue] = await rowsOf<{ oldest: number }>(
    client,
    `select oldest_wait_ms / 60000 as oldest from signalbox_v1.queues where queue = 'q'`,
  );
  expect(Number(queue?.oldest)).toBe(60);
  expect((await rowsRead(client)) - before).toBeLessThan(500);
});
