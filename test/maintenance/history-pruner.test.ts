import { expect, onTestFinished, test } from 'vitest';
import type { MaintenanceEvent } from '../../src/maintenance/chore.ts';
import {
  historyChore,
  PartitionTimeoutError,
  type HistoryPrunerOptions,
} from '../../src/maintenance/history-pruner.ts';
import type { ReplicaId } from '../../src/protocol/ids.ts';
import { listPartitions } from '../../src/store/history-partitions.ts';
import { campaign } from '../../src/store/orchestrator-lock.ts';
import { moveClock } from '../support/database-clock.ts';
import { ElectionRig } from '../support/electors.ts';
import { TcpProxy } from '../support/tcp-proxy.ts';
import { until } from '../support/until.ts';

const dayMs = 86_400_000;

async function setup(more: Partial<HistoryPrunerOptions> = {}) {
  const rig = await ElectionRig.make();
  onTestFinished(() => rig[Symbol.asyncDispose]());
  const { database } = rig;
  const db = rig.lanes();
  const events: MaintenanceEvent[] = [];
  const chore = historyChore({ db, directUrl: database.directUrl, onEvent: (event) => events.push(event), ...more });
  const replicaId = 'a:1:x' as ReplicaId;
  return {
    rig,
    database,
    events,
    round: async () => {
      const { epoch } = await campaign(db, replicaId, 10_000, { timeoutMs: 2000 });
      return chore.runOnce({ term: { replicaId, epoch }, signal: new AbortController().signal });
    },
    days: async (parent: 'history' | 'events') =>
      (await listPartitions(db))
        .filter((one) => one.parent === parent)
        .map(({ daysAhead, state }) => [daysAhead, state]),
    /** As if the program had run so many days ago: that day and the one before exist. */
    makeDay: async (daysAgo: number) => {
      await moveClock(database, -daysAgo * dayMs);
      await database.query('select signalbox.make_partitions(0)');
      await moveClock(database, 0);
    },
    insert: (daysAgo = 0) =>
      database.query(
        `insert into signalbox.events (at, type) values (signalbox.clock() - make_interval(days => $1), 'test')`,
        [daysAgo],
      ),
  };
}

const attached = (from: number, to: number) =>
  Array.from({ length: to - from + 1 }, (_none, n) => [from + n, 'attached']);

test('days are made a week ahead', async () => {
  const { database, events, round, days } = await setup();
  await moveClock(database, 3 * dayMs);
  expect(await round()).toEqual({ made: 6, dropped: 0 });
  expect(await days('history')).toEqual(attached(-4, 7));
  expect(await days('events')).toEqual(attached(-4, 7));
  expect(events).toEqual([]);
});

test('days past the retention are dropped, the others stay', async () => {
  const { round, days, makeDay, insert } = await setup();
  await makeDay(9);
  await makeDay(20);
  await insert(9);
  expect(await round()).toEqual({ made: 0, finalized: 0, detached: 8, dropped: 8 });
  expect(await days('history')).toEqual(attached(-1, 7));
  expect(await days('events')).toEqual(attached(-1, 7));
  await makeDay(8);
  await insert(8);
  expect(await round()).toMatchObject({ dropped: 2 });
  expect(await days('events')).toEqual([[-8, 'attached'], ...attached(-1, 7)]);
});

test('dropping old days does not fail a writer or a reader', async () => {
  const { database, round, makeDay, insert } = await setup();
  await makeDay(20);
  await insert(20);
  const [writer, reader] = await Promise.all([database.connect(), database.connect()]);
  let isOver = false;
  let [writes, reads] = [0, 0];
  const write = async () => {
    while (!isOver) {
      await writer.query(`insert into signalbox.events (at, type) values (signalbox.clock(), 'test')`);
      writes++;
    }
  };
  const read = async () => {
    while (!isOver) {
      await reader.query('begin');
      await reader.query('select count(*) from signalbox.events');
      await reader.query('commit');
      reads++;
    }
  };
  const pruned = round().finally(() => (isOver = true));
  await Promise.all([pruned, write(), read()]);
  expect(await pruned).toMatchObject({ detached: 4, dropped: 4 });
  expect(writes).toBeGreaterThan(0);
  expect(reads).toBeGreaterThan(0);
});

test('a detach held up by a long transaction is broken off, writers go on, and the next round ends it', async () => {
  const { database, round, days, makeDay, insert } = await setup({ detachTimeoutMs: 300 });
  await makeDay(20);
  const reader = await database.connect();
  await reader.query('begin');
  await reader.query('select count(*) from signalbox.events');
  await expect(round()).rejects.toThrow(PartitionTimeoutError);
  expect((await days('events')).filter(([, state]) => state !== 'attached')).toEqual([[-21, 'detaching']]);
  await insert();
  await reader.query('commit');
  expect(await round()).toMatchObject({ finalized: 1, detached: 3, dropped: 4 });
  expect(await days('events')).toEqual(attached(-1, 7));
  expect(await days('history')).toEqual(attached(-1, 7));
});

test('a detach on a connection that went silent is given up, and its chore ends', async () => {
  const { database, rig, events, makeDay } = await setup();
  await makeDay(20);
  await using proxy = await TcpProxy.to(database.directUrl);
  const db = rig.lanes();
  const chore = historyChore({
    db,
    directUrl: proxy.through(database.directUrl),
    detachTimeoutMs: 60_000,
    onEvent: (event) => events.push(event),
  });
  const replicaId = 'b:1:x' as ReplicaId;
  const { epoch } = await campaign(db, replicaId, 60_000, { timeoutMs: 2000 });
  const reader = await database.connect();
  await reader.query('begin');
  await reader.query('select count(*) from signalbox.history');
  await reader.query('select count(*) from signalbox.events');
  const over = new AbortController();
  const ended = chore.runOnce({ term: { replicaId, epoch }, signal: over.signal }).catch((error: unknown) => error);
  await until(
    async () =>
      (
        await database.query(`select from pg_stat_activity where query ~ '^alter table signalbox' and state = 'active'
        and datname = current_database()`)
      ).rowCount,
    { what: 'the detach waits' },
  );
  proxy.freeze();
  const startedAt = performance.now();
  over.abort();
  expect(await ended).toBeInstanceOf(Error);
  expect(performance.now() - startedAt).toBeLessThan(5000);
});

test('a day that was detached and not dropped is dropped', async () => {
  const { database, round, days, makeDay } = await setup();
  await makeDay(20);
  const { rows } = await database.query<{ name: string }>(
    `select min(relname) as name from pg_class where relname ~ '^history_[0-9]{8}$'`,
  );
  await database.query(`alter table signalbox.history detach partition signalbox.${rows[0]?.name}`);
  expect(await days('history')).toContainEqual([-21, 'detached']);
  expect(await round()).toMatchObject({ detached: 3, dropped: 4 });
  expect(await days('history')).toEqual(attached(-1, 7));
});

test('a table of another form is never touched', async () => {
  const { database, round } = await setup();
  await database.query(
    'create table signalbox.history_20200101_kept (n int); create table public.history_20200101 (n int)',
  );
  await round();
  expect((await database.query('select from signalbox.history_20200101_kept')).rowCount).toBe(0);
  expect((await database.query('select from public.history_20200101')).rowCount).toBe(0);
});

test('running short of days ahead is told also when making them fails', async () => {
  const { database, events, round } = await setup();
  await moveClock(database, 5 * dayMs);
  await database.query(`create or replace function signalbox.make_partitions(p_days_ahead integer) returns integer
    language plpgsql as $$ begin raise exception 'no room'; end $$`);
  await expect(round()).rejects.toThrow('no room');
  expect(events).toEqual([{ kind: 'history.running_short', daysAhead: 2 }]);
});

test.each([1, 0, 7.5])('a retention of %d days is refused', async (historyRetentionDays) => {
  await expect(setup({ historyRetentionDays })).rejects.toThrow(
    'historyRetentionDays must be a whole number, 2 or more',
  );
});
