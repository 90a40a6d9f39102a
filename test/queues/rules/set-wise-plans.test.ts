import type pg from 'pg';
import { expect, test } from 'vitest';
import { freshDatabase, type TestDatabase } from '../../support/database.ts';
import {
  type Answer,
  acquireItem,
  decide,
  makeQueues,
  oneOf,
  releaseItem,
  renewItem,
  renewItems,
} from '../../support/sql-verbs.ts';

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

/** Each queue held, renewed and released, then held, waited for and handed over: what a busy replica does all day. */
async function useAll(client: pg.Client, used: readonly string[], round: string): Promise<void> {
  const acquires = used.map((queue) => acquireItem(queue, round));
  const held = await decide(client, acquires);
  expect(held.map(({ code }) => code)).toEqual(used.map(() => 'held'));
  const renewed = await renewItems(
    client,
    held.map(({ queue, claim_id, body }) => renewItem(queue, claim_id ?? '', body.fencing_token, { ttl_ms: 40_000 })),
  );
  expect(renewed.map(({ code }) => code)).toEqual(used.map(() => 'renewed'));
  const releases = held.map(({ queue, claim_id, body }) => releaseItem(queue, claim_id ?? '', body.fencing_token));
  const mixed = await decide(client, [...releases, ...used.map((queue) => acquireItem(queue, `${round} again`))]);
  expect(mixed.map(({ code }) => code)).toEqual([...used.map(() => 'released'), ...used.map(() => 'held')]);
  const joined = await decide(
    client,
    used.map((queue) => acquireItem(queue, `${round} next`)),
  );
  expect(joined.map(({ code }) => code)).toEqual(used.map(() => 'waiting'));
  const handedOver = await decide(client, releasesOf(mixed));
  expect(handedOver.map(({ code }) => code)).toEqual([...used.map(() => 'released'), ...used.map(() => 'held')]);
  await decide(client, releasesOf(handedOver));
}

const releasesOf = (answers: readonly Answer[]) =>
  answers
    .filter(({ code }) => code === 'held')
    .map(({ queue, claim_id, body }) => releaseItem(queue, claim_id ?? '', body.fencing_token));

async function costOf(client: pg.Client, used: readonly string[], round: string): Promise<number> {
  const before = await rowsRead(client);
  await useAll(client, used, round);
  return (await rowsRead(client)) - before;
}

async function fill(db: TestDatabase, queues: number): Promise<void> {
  await db.query(
    `select signalbox_v1.ensure_queues((select array_agg('other' || n) from generate_series(1, ${queues}) n))`,
  );
  await db.query(
    `insert into signalbox.leases (queue, slot, state, claim_id, holder, fencing_token, ttl_ms, priority, mode, seq,
       enqueued_at, acquired_at, renewed_at, expires_at)
     select 'other' || n, 1, 'held', 'c' || n, 'h', 1, 30000, 0, 'wait', 0, now(), now(), now(), now() + interval '1 h'
     from generate_series(1, ${queues}) n`,
  );
  await db.query(
    `insert into signalbox.history (queue, claim_id, holder, state, reason, final, priority, mode, labels, metadata,
       enqueued_at, ended_at)
     select 'other' || n, 'past' || n, 'h', 'cancelled', 'cancelled', true, 0, 'wait', '{}', '{}', now(), now()
     from generate_series(1, ${queues * 2}) n`,
  );
  await db.query(
    `insert into signalbox.waiting (queue, claim_id, seq, priority, mode, holder, ttl_ms, enqueued_at)
     select 'other' || n, 'waits' || n, n, 0, 'wait', 'h', 30000, now() from generate_series(1, ${queues}) n`,
  );
  await db.query(
    `insert into signalbox.heard (queue, claim_id, heard_at, listens_until)
     select queue, claim_id, now(), now() from signalbox.waiting where queue like 'other%'`,
  );
}

/** Queues of a database that nobody analyses behind the test's back. */
async function makeUsed(db: TestDatabase, count: number): Promise<readonly string[]> {
  for (const table of ['lines', 'leases', 'queues', 'waiting', 'heard'])
    await db.query(`alter table signalbox.${table} set (autovacuum_enabled = off)`);
  const used = Array.from({ length: count }, (_, index) => `used${index}`);
  await makeQueues(db, used);
  return used;
}

// Every round leaves dead versions of its own rows, which later rounds read; a table read whole would add 20,000.
const slack = 1000;

test.each([1, 10])(
  'set-wise plans for %i queues, cached on an empty schema, hold at 20,000 queues',
  async (count) => {
    await using db = await freshDatabase();
    const used = await makeUsed(db, count);
    const client = await db.connect();
    await useAll(client, used, 'fresh');
    const fresh = await costOf(client, used, 'still fresh');
    await fill(db, 20_000);
    expect(await costOf(client, used, 'full')).toBeLessThan(fresh + slack);
    await db.query('analyze');
    expect(await costOf(client, used, 'planned again')).toBeLessThan(fresh + slack);
  },
  60_000,
);

test.each([1, 10])(
  'set-wise plans for %i queues, cached on drained tables, hold at 20,000 queues',
  async (count) => {
    await using db = await freshDatabase();
    const used = await makeUsed(db, count);
    await fill(db, 20_000);
    const client = await db.connect();
    await useAll(client, used, 'at first');
    for (const table of ['lines', 'leases', 'queues', 'waiting', 'heard'])
      await db.query(`delete from signalbox.${table} where queue like 'other%'`);
    await db.query('vacuum analyze');
    await useAll(client, used, 'drained');
    const drained = await costOf(client, used, 'still drained');
    await fill(db, 20_000);
    expect(await costOf(client, used, 'full again')).toBeLessThan(drained + slack);
  },
  60_000,
);
