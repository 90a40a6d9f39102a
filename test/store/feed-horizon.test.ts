import type pg from 'pg';
import { expect, test, vi } from 'vitest';
import { moveClock } from '../support/database-clock.ts';
import { freshDatabase, type TestDatabase } from '../support/database.ts';
import { type Connection, rowsOf } from '../support/sql-verbs.ts';
import { feedPatienceMs } from '../support/until.ts';

/** For what another test does just now. */
const patience = { timeout: feedPatienceMs };

vi.setConfig({ testTimeout: 2 * feedPatienceMs });

/** A connection with an open transaction that has a number, after it has run this. */
async function openTransaction(database: TestDatabase, statement: string): Promise<pg.Client> {
  const client = await database.connect();
  await client.query('begin');
  await client.query('select pg_current_xact_id()');
  await client.query(statement);
  return client;
}

const record = (on: Connection, id: string) =>
  rowsOf(on, `select signalbox.record_event('lease.granted', 'q', $1, '{}')`, [id]);

async function look(on: Connection): Promise<string[]> {
  const rows = await rowsOf<{ claim_id: string }>(
    on,
    `select claim_id from signalbox_v1.read_events('0', 0, 'q', '', 100)`,
  );
  return rows.map(({ claim_id }) => claim_id);
}

/** The feed as somebody sees it who finds that events have been kept back for a while. */
async function lookLater(database: TestDatabase): Promise<string[]> {
  await moveClock(database, 1000);
  return look(database);
}

test('a transaction that writes in another database of the server keeps no event back', async () => {
  await using database = await freshDatabase();
  await using other = await freshDatabase();
  await openTransaction(other, `select signalbox.record_event('lease.granted', 'q', 'of the other', '{}')`);
  await record(database, 'a');
  await expect.poll(() => lookLater(database), patience).toEqual(['a']);
});

test('a transaction of our database that has written something else may still write an event', async () => {
  await using database = await freshDatabase();
  const slow = await openTransaction(database, 'create table public.something_else (id integer)');
  await record(database, 'later');
  expect(await lookLater(database)).toEqual([]);
  await record(slow, 'earlier');
  expect(await lookLater(database)).toEqual([]);
  await slow.query('commit');
  await expect.poll(() => lookLater(database), patience).toEqual(['earlier', 'later']);
});

test('a transaction that does not show whose it is counts as one of ours', async () => {
  await using database = await freshDatabase();
  await using other = await freshDatabase();
  const theirs = await openTransaction(other, 'select 1');
  const ours = await openTransaction(database, 'select 1');
  await record(database, 'later');
  expect(await lookLater(database)).toEqual([]);
  await record(ours, 'earlier');
  await ours.query('commit');
  expect(await lookLater(database)).toEqual([]);
  await theirs.query('commit');
  await expect.poll(() => lookLater(database), patience).toEqual(['earlier', 'later']);
});

test('what a transaction wrote itself is not in its own feed before it is over', async () => {
  await using database = await freshDatabase();
  await record(database, 'before');
  const client = await openTransaction(database, `select signalbox.record_event('lease.granted', 'q', 'own', '{}')`);
  await record(database, 'beside');
  await moveClock(database, 1000);
  await expect.poll(() => look(client), patience).toEqual(['before']);
});
