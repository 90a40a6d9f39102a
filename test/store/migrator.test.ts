import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { failureKind } from '../../src/store/failures.ts';
import { SchemaTooNewError, migrate, migrationStatus } from '../../src/store/migrator.ts';
import { readMigrations } from '../../src/store/schema/sql-files.ts';
import { BackgroundProcess } from '../support/background-process.ts';
import { emptyDatabase, freshDatabase, type TestDatabase } from '../support/database.ts';
import { oneOf, rowsOf } from '../support/sql-verbs.ts';
import { dumpSchema } from '../support/schema-dump.ts';
import { TcpProxy } from '../support/tcp-proxy.ts';
import { until } from '../support/until.ts';

const optionsFor = (db: TestDatabase) => ({ connectionString: db.directUrl });
const names = async () => (await readMigrations()).map(({ name }) => name);
const functionsOf = (db: TestDatabase) =>
  rowsOf<{ name: string; text: string; written: string }>(
    db,
    `select p.oid::regprocedure::text as name, md5(prosrc) as text, xmin::text as written from pg_proc p
     where pronamespace in ('signalbox'::regnamespace, 'signalbox_v1'::regnamespace) order by 1`,
  );
const addMigration = (db: TestDatabase, name: string) =>
  db.query(`insert into signalbox.schema_migrations (name, timestamp) values ($1, 'then')`, [name]);

test('an empty database gets every migration once, and the second time nothing', async () => {
  await using db = await emptyDatabase();
  expect(await migrationStatus(optionsFor(db))).toEqual({
    applied: [],
    pending: await names(),
    unknown: [],
    functions: 'not_installed',
  });
  expect(await migrate(optionsFor(db))).toEqual({
    applied: await names(),
    functionsApplied: true,
    schemaIsNewer: false,
  });
  const [schema, functions] = [await dumpSchema(db), await functionsOf(db)];

  expect(await migrate(optionsFor(db))).toEqual({ applied: [], functionsApplied: false, schemaIsNewer: false });
  expect(await migrationStatus(optionsFor(db))).toEqual({
    applied: await names(),
    pending: [],
    unknown: [],
    functions: 'current',
  });
  expect([await dumpSchema(db), await functionsOf(db)]).toEqual([schema, functions]);
});

test('showing what is pending changes nothing', async () => {
  await using db = await emptyDatabase();
  await migrationStatus(optionsFor(db));
  expect(await rowsOf(db, `select from pg_namespace where nspname like 'signalbox%'`)).toEqual([]);
});

test('fifty migrations at once of one empty database apply each step once', async () => {
  await using db = await emptyDatabase();
  const reports = await Promise.all(Array.from({ length: 50 }, () => migrate(optionsFor(db))));
  expect(reports.flatMap(({ applied }) => applied).sort()).toEqual(await names());
  expect(reports.filter(({ functionsApplied }) => functionsApplied)).toHaveLength(1);
  expect((await migrationStatus(optionsFor(db))).functions).toBe('current');
}, 60_000);

test('twenty processes migrating one empty database at once all succeed', async () => {
  await using db = await emptyDatabase();
  const program = join(import.meta.dirname, '../../src/main.ts');
  const ends = await Promise.all(
    Array.from({ length: 20 }, async () => {
      await using child = await BackgroundProcess.start(process.execPath, [program, 'migrate'], {
        env: { DATABASE_URL: db.directUrl, DATABASE_DIRECT_URL: undefined },
      });
      return (await child.ended).exitCode;
    }),
  );
  expect(ends).toEqual(Array.from({ length: 20 }, () => 0));
  expect((await migrationStatus(optionsFor(db))).pending).toEqual([]);
}, 120_000);

test('functions are applied again when those in place are not of this text, and stale ones go', async () => {
  await using db = await freshDatabase();
  const before = (await functionsOf(db)).map(({ name, text }) => ({ name, text }));
  await db.query(`create or replace function signalbox.rfc3339(p_at timestamptz) returns text language sql stable
    as $$ select 'tampered' $$`);
  await db.query(`create function signalbox_v1.left_over() returns void language sql as ''`);
  await db.query(`update signalbox.function_set set digest = 'another'`);
  expect((await migrationStatus(optionsFor(db))).functions).toBe('changed');

  expect(await migrate(optionsFor(db))).toEqual({ applied: [], functionsApplied: true, schemaIsNewer: false });
  expect((await functionsOf(db)).map(({ name, text }) => ({ name, text }))).toEqual(before);
});

test('functions of a newer program are not overwritten', async () => {
  await using db = await freshDatabase();
  await db.query(`update signalbox.function_set set digest = 'newer', program_version = '999.0.0'`);
  const before = await functionsOf(db);
  expect((await migrationStatus(optionsFor(db))).functions).toBe('applied_by_newer_program');
  expect((await migrate(optionsFor(db))).functionsApplied).toBe(false);
  expect(await functionsOf(db)).toEqual(before);
  expect(await oneOf(db, 'select digest from signalbox.function_set')).toEqual({ digest: 'newer' });
});

test('a program that does not know an applied migration leaves everything as it is', async () => {
  await using db = await freshDatabase();
  await addMigration(db, '9999_of_tomorrow');
  await db.query(`update signalbox.function_set set digest = 'another'`);
  const before = await functionsOf(db);
  expect(await migrate(optionsFor(db))).toEqual({ applied: [], functionsApplied: false, schemaIsNewer: true });
  expect((await migrationStatus(optionsFor(db))).unknown).toEqual(['9999_of_tomorrow']);
  expect(await functionsOf(db)).toEqual(before);
});

test('a program refuses a schema past a breaking migration that it does not know, and changes nothing', async () => {
  await using db = await freshDatabase();
  await addMigration(db, '9999_of_tomorrow.breaking');
  await db.query(`update signalbox.function_set set digest = 'another'`);
  const before = await functionsOf(db);
  const refusal = await migrate(optionsFor(db)).catch((error: unknown) => error);
  expect(refusal).toBeInstanceOf(SchemaTooNewError);
  expect(refusal).toMatchObject({ migrations: ['9999_of_tomorrow.breaking'] });
  await expect(migrationStatus(optionsFor(db))).rejects.toBeInstanceOf(SchemaTooNewError);
  expect(await functionsOf(db)).toEqual(before);
});

test('a migration that fails leaves nothing of it behind, and the next try goes on', async () => {
  await using db = await emptyDatabase();
  await db.query('create schema signalbox_v1');
  await expect(migrate(optionsFor(db))).rejects.toThrow(/signalbox_v1/);
  expect((await migrationStatus(optionsFor(db))).applied).toEqual([]);
  await db.query('drop schema signalbox_v1');
  expect((await migrate(optionsFor(db))).applied).toEqual(await names());
});

test('migrate gives the role its timeouts in this database, and keeps a value that somebody chose', async () => {
  await using db = await emptyDatabase();
  await db.query(`do $$ begin execute format(
    'alter role current_user in database %I set statement_timeout = ''7s''', current_database()); end $$`);
  await migrate(optionsFor(db));
  const client = await db.connect();
  expect((await client.query('show statement_timeout')).rows).toEqual([{ statement_timeout: '7s' }]);
  expect((await client.query('show idle_in_transaction_session_timeout')).rows).toEqual([
    { idle_in_transaction_session_timeout: '5s' },
  ]);

  await using other = await emptyDatabase();
  await migrate({ ...optionsFor(other), roleTimeouts: false });
  const setting = await (
    await other.connect()
  ).query(`select setting from pg_settings where name = 'statement_timeout'`);
  expect(setting.rows).toEqual([{ setting: '0' }]);
});

test('migrate makes the partitions of the coming week', async () => {
  await using db = await freshDatabase();
  const days = await rowsOf(
    db,
    `select relname as parent, count(*)::int as days from pg_inherits join pg_class on pg_class.oid = inhparent
     where inhparent in ('signalbox.history'::regclass, 'signalbox.events'::regclass) group by 1 order by 1`,
  );
  expect(days).toEqual([
    { parent: 'events', days: 9 },
    { parent: 'history', days: 9 },
  ]);
});

/** Holds the lock that migrations wait for, as a process that migrates does. */
async function migrating(db: TestDatabase) {
  const key = '3853314791062309107';
  const holder = await db.connect();
  await holder.query('select pg_advisory_lock($1)', [key]);
  return {
    waited: () =>
      until(
        async () =>
          (
            await db.query(`select from pg_stat_activity where wait_event = 'advisory'
          and datname = current_database() and application_name = 'signalbox migrate'`)
          ).rowCount,
        { what: 'a migration waits' },
      ),
    end: () => holder.query('select pg_advisory_unlock($1)', [key]),
  };
}

test('the timeouts of the role do not end the wait for a process that migrates', async () => {
  await using db = await freshDatabase();
  const other = await migrating(db);
  await db.query(`do $$ begin execute format(
    'alter role current_user in database %I set statement_timeout = ''100ms''', current_database()); end $$`);
  const report = migrate(optionsFor(db));
  await other.waited();
  await sleep(400);
  await other.end();
  expect(await report).toMatchObject({ applied: [], schemaIsNewer: false });
});

test('a newer program that migrates meanwhile is left alone, or refused', async () => {
  await using db = await freshDatabase();
  for (const [name, outcome] of [
    ['9998_of_tomorrow', { schemaIsNewer: true }],
    ['9999_of_tomorrow.breaking', { name: 'SchemaTooNewError' }],
  ] as const) {
    await db.query(`delete from signalbox.schema_migrations where name like '999%'`);
    const other = await migrating(db);
    const report = migrate(optionsFor(db)).catch((error: unknown) => error);
    await other.waited();
    await addMigration(db, name);
    await other.end();
    expect(await report).toMatchObject(outcome);
  }
});

test('a database that goes away during a migration is unavailable; a signal ends the wait for a silent one', async () => {
  await using db = await freshDatabase();
  await using proxy = await TcpProxy.to(db.directUrl);
  const other = await migrating(db);
  const cut = migrate(optionsFor(db)).catch(failureKind);
  await other.waited();
  await db.query(`select pg_terminate_backend(pid) from pg_stat_activity
    where datname = current_database() and application_name = 'signalbox migrate'`);
  expect(await cut).toBe('unavailable');

  const giveUp = new AbortController();
  const connectionString = proxy.through(db.directUrl);
  const silent = migrate({ connectionString, signal: giveUp.signal }).catch(failureKind);
  await other.waited();
  proxy.freeze();
  const startedAt = performance.now();
  giveUp.abort();
  expect(await silent).toBe('unavailable');
  expect(performance.now() - startedAt).toBeLessThan(3000);
});

test('a function that cannot be applied is a defect, and one that the end of the connection stopped is not', async () => {
  await using db = await freshDatabase();
  await db.query(`update signalbox.function_set set digest = 'another'`);
  await db.query('alter function signalbox.clock() rename to other_clock');
  await db.query(`create view signalbox.clock_user as select signalbox.other_clock() as at`);
  expect(await migrate(optionsFor(db)).catch(failureKind)).toBe('defect');
  await db.query('drop view signalbox.clock_user');
  const holder = await db.connect();
  await holder.query('begin');
  await holder.query('lock table signalbox.function_set in access exclusive mode');
  const stopped = migrate(optionsFor(db)).catch(failureKind);
  await until(
    async () =>
      (
        await db.query(`select from pg_stat_activity where wait_event_type = 'Lock'
      and datname = current_database() and application_name = 'signalbox migrate'`)
      ).rowCount,
    { what: 'the functions wait' },
  );
  await db.query(`select pg_terminate_backend(pid) from pg_stat_activity
    where datname = current_database() and application_name = 'signalbox migrate'`);
  expect(await stopped).toBe('unavailable');
});
