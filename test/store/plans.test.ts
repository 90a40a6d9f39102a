import type pg from 'pg';
import { expect, test } from 'vitest';
import { moveClock } from '../support/database-clock.ts';
import { freshDatabase, type TestDatabase } from '../support/database.ts';
import { makeQueues, oneOf, onQueue, rowsOf } from '../support/sql-verbs.ts';

const claims = 100_000;

/** Rows that statements of this database read by sequential scans, and waiting rows fetched through indexes. */
async function rowsRead(client: pg.Client): Promise<{ scanned: number; fetched: number }> {
  await client.query('select pg_stat_force_next_flush()');
  return oneOf(
    client,
    `select sum(seq_tup_read)::int as scanned, sum(idx_tup_fetch)::int as fetched from pg_stat_user_tables
     where schemaname = 'signalbox' and relname in ('waiting', 'heard', 'leases', 'lines', 'queues', 'wide_slots')`,
  );
}

/** One of each verb that picks from a line, on this connection and so with the plans it has cached. */
async function useEveryVerb(client: pg.Client, round: string): Promise<void> {
  const queue = onQueue(client, 'q');
  const ids = [`${round} 1`, `${round} 2`];
  const [token = 0] = await onQueue(client, 'hot').hold(`${round} 0`);
  for (const id of ids) await onQueue(client, 'hot').acquire(id);
  await onQueue(client, 'hot').acquire(ids[1] ?? '');
  await onQueue(client, 'hot').release(`${round} 0`, token);
  await onQueue(client, 'hot').hear(ids, 1000);
  const held = await onQueue(client, 'hot').look(ids[0] ?? '', { hear: true });
  await onQueue(client, 'hot').renew(ids[0] ?? '', held.body.fencing_token);
  await onQueue(client, 'hot').cancel(ids[1] ?? '');
  await onQueue(client, 'hot').break(ids[0] ?? '');
  await onQueue(client, 'hot').advance();
  await queue.acquire(`${round} latest`, { mode: 'latest_only' });
  await queue.cancel(`${round} latest`);
  await rowsOf(client, 'select * from signalbox_v1.watch($1)', [JSON.stringify([{ queue: 'hot', claim_id: 'x' }])]);
}

async function fillLines(db: TestDatabase, queues: string): Promise<void> {
  await db.query(
    `insert into signalbox.waiting (queue, claim_id, seq, priority, mode, holder, ttl_ms, enqueued_at)
     select ${queues}, 'full ' || n, n, 0, 'wait', 'h', 30000, signalbox.clock() from generate_series(1, ${claims}) n`,
  );
  await db.query(
    `insert into signalbox.heard (queue, claim_id, heard_at, listens_until)
     select queue, claim_id, signalbox.clock(), signalbox.clock() from signalbox.waiting`,
  );
}

// Planned on a table known to be empty all indexes cost the same; on one never analyzed the server assumes some pages.
test.each([
  ['as it was made', []],
  ['analyzed', ['vacuum (analyze)']],
])(
  'plans cached on an empty schema (%s) use indexes when 100,000 claims wait, and after drain and vacuum',
  async (_, statements) => {
    await using db = await freshDatabase();
    for (const statement of statements) await db.query(statement);
    await db.query('alter table signalbox.waiting set (autovacuum_enabled = off)');
    await db.query('alter table signalbox.heard set (autovacuum_enabled = off)');
    await makeQueues(db, ['hot', 'q']);
    const client = await db.connect();
    await onQueue(client, 'q').hold('holder of q');
    await useEveryVerb(client, 'fresh');

    const cost = async (round: string) => {
      const before = await rowsRead(client);
      await useEveryVerb(client, round);
      const after = await rowsRead(client);
      return { scanned: after.scanned - before.scanned, fetched: after.fetched - before.fetched };
    };
    const fresh = await cost('again');

    await fillLines(db, `'q'`);
    await db.query(`update signalbox.lines set waiting = ${claims}, next_seq = ${claims + 1} where queue = 'q'`);
    const inOneLine = await cost('full');
    await db.query('delete from signalbox.waiting');
    await db.query('delete from signalbox.heard');
    await db.query('vacuum (analyze) signalbox.waiting');
    await db.query('vacuum (analyze) signalbox.heard');
    await db.query(`update signalbox.lines set waiting = 0 where queue = 'q'`);
    const drained = await cost('drained');
    await useEveryVerb(client, 'plans made on drained tables');
    await fillLines(db, `'q' || n % 1000`);
    const inManyLines = await cost('full again');

    for (const { scanned, fetched } of [inOneLine, drained, inManyLines]) {
      // A scan of the big tables would add 100,000; the small ones are read whole now and then.
      expect(scanned).toBeLessThan(fresh.scanned + 500);
      expect(fetched).toBeLessThan(fresh.fetched + 2000);
    }
  },
  120_000,
);

test('L10: an advance of the head of a line of 100,000 reads a handful of rows', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q']);
  const client = await db.connect();
  const queue = onQueue(client, 'q');
  await queue.hold('holder');
  await queue.advance();
  await fillLines(db, `'q'`);
  await db.query(`update signalbox.lines set waiting = ${claims}, next_seq = ${claims + 1}`);
  await moveClock(db, 31_000);

  const before = await rowsRead(client);
  expect((await queue.advance()).map(({ code, claim_id }) => [code, claim_id])).toEqual([
    ['ended', 'holder'],
    ['held', 'full 1'],
  ]);
  const after = await rowsRead(client);
  expect(after.scanned - before.scanned).toBeLessThan(500);
  expect(after.fetched - before.fetched).toBeLessThan(500);
}, 120_000);
