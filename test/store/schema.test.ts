import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { freshDatabase } from '../support/database.ts';
import { dumpSchema } from '../support/schema-dump.ts';
import { rowsOf } from '../support/sql-verbs.ts';

const file = join(import.meta.dirname, '../schema.sql');

test('the migrations make what test/schema.sql says (UPDATE_SCHEMA=1 writes it again)', async () => {
  await using db = await freshDatabase();
  const dump = await dumpSchema(db);
  if (process.env['UPDATE_SCHEMA'] === '1') await writeFile(file, dump);
  expect(dump).toBe(await readFile(file, 'utf8'));
});

test('every check and key has a name of ours, and hot tables have no foreign keys', async () => {
  await using db = await freshDatabase();
  const odd = await rowsOf(
    db,
    `select t.relname, conname from pg_constraint c join pg_class t on t.oid = c.conrelid
     where t.relnamespace = 'signalbox'::regnamespace and not t.relispartition and t.relname !~ '^schema_migrations'
       and (contype = 'f' or contype <> 'n' and (conname not like t.relname || '\\_%' or conname ~ '_check[0-9]*$'))`,
  );
  expect(odd).toEqual([]);
});

test('every view says what it is to whoever looks at it in the database', async () => {
  await using db = await freshDatabase();
  const views = await rowsOf<{ name: string; comment: string | null }>(
    db,
    `select relname as name, obj_description(oid, 'pg_class') as comment from pg_class
     where relnamespace = 'signalbox_v1'::regnamespace and relkind = 'v' order by 1`,
  );
  expect(views.length).toBeGreaterThan(10);
  expect(views.filter(({ comment }) => comment === null)).toEqual([]);
  expect(views.find(({ name }) => name === 'queues')?.comment).toMatch(
    /^Every queue: its limit and settings, how many .+ /,
  );
});

test('nothing a grant or a renewal changes is indexed', async () => {
  await using db = await freshDatabase();
  const indexes = await rowsOf(
    db,
    `select relname as name from pg_index join pg_class on pg_class.oid = indexrelid where indrelid in (
       'signalbox.leases'::regclass, 'signalbox.lines'::regclass) order by 1`,
  );
  // The last is of the queues with clean-up alone, and only a change of that setting changes it.
  expect(indexes).toEqual([{ name: 'leases_pkey' }, { name: 'lines_pkey' }, { name: 'lines_with_cleanup' }]);
});

test('names compare by bytes everywhere: every text key is of collation C', async () => {
  await using db = await freshDatabase();
  const others = await rowsOf(
    db,
    `select t.relname, a.attname from pg_index i join pg_class t on t.oid = i.indrelid
     join pg_attribute a on a.attrelid = t.oid and a.attnum = any(i.indkey::int2[])
     join pg_collation c on c.oid = a.attcollation
     where t.relnamespace = 'signalbox'::regnamespace and t.relname !~ '^schema_migrations' and c.collname <> 'C'`,
  );
  expect(others).toEqual([]);
});
