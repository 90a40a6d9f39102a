import type pg from 'pg';
import { expect, test, vi } from 'vitest';
import { Database } from '../../src/store/database.ts';
import { oldestEvent, readStretch } from '../../src/store/events.ts';
import { moveClock } from '../support/database-clock.ts';
import { freshDatabase, type TestDatabase } from '../support/database.ts';
import { type Connection, oneOf, rowsOf } from '../support/sql-verbs.ts';
import { feedPatienceMs, until } from '../support/until.ts';

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

test('a look that passes over events goes no further than it saw, also if what kept none back ends in the middle of it', async () => {
  await using database = await freshDatabase();
  await using other = await freshDatabase();
  await using db = new Database({ url: database.url, connectTimeoutMs: 5000, statementTimeoutMs: 20_000 });
  const theirs = await openTransaction(
    other,
    `select signalbox.record_event('lease.granted', 'q', 'of the other', '{}')`,
  );
  await record(database, 'a');
  await expect.poll(() => lookLater(database), patience).toEqual(['a']);
  // Whoever asks for the time a second time waits here; meanwhile the other transaction ends.
  const gate = await database.connect();
  await gate.query('create sequence public.asked');
  await gate.query('grant usage on sequence public.asked to public');
  await gate.query('select pg_advisory_lock(1)');
  await gate.query(`create or replace function signalbox.clock() returns timestamptz language plpgsql volatile as $$
    begin
      if nextval('public.asked') > 1 then
        perform pg_advisory_xact_lock_shared(1);
      end if;
      return clock_timestamp() + interval '1 second';
    end $$`);
  let isDone = false;
  const looked = readStretch(db, oldestEvent, { queue: 'q', prefix: '', limit: 10 }, 1000).finally(() => {
    isDone = true;
  });
  const waiting = `select from pg_locks where locktype = 'advisory' and not granted`;
  await until(async () => isDone || (await rowsOf(gate, waiting)).length > 0, { what: 'the look waits, or is over' });
  await theirs.query('commit');
  await gate.query('select pg_advisory_unlock(1)');
  const { rows, until: seen } = await looked;
  // (Where another test keeps it back just now, it was not seen either.)
  const { xid } = await oneOf<{ xid: string }>(database, `select xid::text from signalbox.events where claim_id = 'a'`);
  expect([seen?.xid === xid, rows.map(({ claim_id }) => claim_id)]).toEqual(
    rows.length === 0 ? [false, []] : [true, ['a']],
  );
});

test('a webhook is behind with events that a long transaction keeps back too, and says so', async () => {
  await using database = await freshDatabase();
  const settings = { url: 'https://example.com', queue_prefix: '', enabled: true, allow_http: false };
  await database.query(`select signalbox_v1.set_webhook('w', $1, 'whsec_x')`, [JSON.stringify(settings)]);
  await openTransaction(database, 'create table public.something_else (id integer)');
  // Behind the event of its own making, as if that had been delivered.
  await record(database, 'a');
  await database.query(`update signalbox.webhooks set (cursor_xid, cursor_id) = (
    select xid, id from signalbox.events where type = 'webhook.changed')`);
  await moveClock(database, 5000);
  const [row] = await rowsOf<{ lag_ms: string }>(database, 'select lag_ms from signalbox_v1.webhooks');
  expect(Number(row?.lag_ms)).toBeGreaterThanOrEqual(5000);
});
