import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { migrate } from '../../src/store/migrator.ts';
import { readMigrations } from '../../src/store/schema/sql-files.ts';
import { emptyDatabase, type TestDatabase } from '../support/database.ts';
import { serve } from '../support/served.ts';
import { makeQueues, oneOf, onQueue } from '../support/sql-verbs.ts';

/** The schema as the last release before places made it, with the one queue of this test. */
async function openOld(db: TestDatabase): Promise<void> {
  const names = (await readMigrations()).map(({ name }) => name).filter((name) => name < '0014');
  for (const name of names) {
    await db.query(await readFile(join(import.meta.dirname, `../../migrations/${name}.sql`), 'utf8'));
  }
  await db.query(
    'create table signalbox.schema_migrations (name varchar(255) primary key, timestamp varchar(255) not null)',
  );
  await db.query(
    'create table signalbox.schema_migrations_lock (id varchar(255) primary key, is_locked integer not null default 0)',
  );
  await db.query(`insert into signalbox.schema_migrations_lock values ('migration_lock', 0)`);
  for (const name of names)
    await db.query(`insert into signalbox.schema_migrations values ($1, clock_timestamp()::text)`, [name]);
}

const standing = [
  { id: 'low', priority: -1, seq: 1 },
  { id: 'first', priority: 0, seq: 2 },
  { id: 'high', priority: 7, seq: 3 },
  { id: 'second', priority: 0, seq: 4 },
  { id: 'high too', priority: 7, seq: 5 },
];

test('those who stood in line before places were given keep their order, and newcomers join by the same rule', async () => {
  await using db = await emptyDatabase();
  await openOld(db);
  await db.query(`insert into signalbox.queues (queue, auto_created, created_at, updated_at)
    values ('q', false, clock_timestamp(), clock_timestamp())`);
  await db.query(
    `insert into signalbox.lines (queue, waiting, runs, delayed, dead, next_seq) values ('q', 5, 5, 1, 1, 20)`,
  );
  for (const kind of ['claim', 'run']) {
    for (const { id, priority, seq } of standing)
      await db.query(
        `insert into signalbox.waiting (queue, claim_id, kind, seq, priority, mode, holder, ttl_ms, enqueued_at)
         values ('q', $1, $2, $3, $4, 'wait', 'h', 30000, clock_timestamp())`,
        [kind === 'run' ? `run ${id}` : id, kind, kind === 'run' ? seq + 5 : seq, priority],
      );
  }
  await db.query(`insert into signalbox.runs (queue, claim_id, max_attempts)
    select queue, claim_id, 3 from signalbox.waiting where kind = 'run' union all select 'q', 'run delayed', 3`);
  await db.query(`insert into signalbox.delayed (queue, claim_id, kind, seq, priority, mode, holder, ttl_ms, enqueued_at, due_at,
      lapsed_offers, labels, metadata, attempts, blocks)
    values ('q', 'run delayed', 'run', 11, 7, 'wait', '', 30000, clock_timestamp(), clock_timestamp(), 0, '{}', '{}', 0, false)`);
  await db.query(`insert into signalbox.dead_letters (queue, claim_id, reason, holder, attempts, max_attempts, attempts_before,
      priority, seq, labels, metadata, enqueued_at, died_at, blocks)
    values ('q', 'run dead', 'failure', '', 1, 3, 0, 7, 12, '{}', '{}', clock_timestamp(), clock_timestamp(), false)`);
  await db.query(`insert into signalbox.leases (queue, slot, state, claim_id, holder, fencing_token, ttl_ms, priority, mode, seq,
      lapsed_offers, offered, labels, metadata, enqueued_at, acquired_at, renewed_at, expires_at, kind, attempt)
    values ('q', 1, 'held', 'holder', 'h', 1, 3600000, 7, 'wait', 0, 0, false, '{}', '{}', clock_timestamp(),
      clock_timestamp(), clock_timestamp(), clock_timestamp() + interval '1 hour', 'claim', 1)`);

  await migrate({ connectionString: db.directUrl });

  const queue = onQueue(db, 'q');
  const old = ['high', 'high too', 'first', 'second', 'low'];
  expect(await queue.line()).toEqual(old);
  expect(await queue.line('run')).toEqual(old.map((id) => `run ${id}`));
  await queue.acquire('new', { priority: 0 });
  await queue.acquire('new high', { priority: 7 });
  expect(await queue.line()).toEqual(['high', 'high too', 'new high', 'first', 'second', 'new', 'low']);
  await db.query(`update signalbox.lines set next_due_at = clock_timestamp()`);
  await db.query(`select * from signalbox_v1.redrive('q', null, 'tester')`);
  await queue.configure({ paused: true });
  await queue.release('holder', 1, { outcome: 'retry', retry_after_ms: 0 });
  expect(await queue.line()).toEqual(['holder', 'high', 'high too', 'new high', 'first', 'second', 'new', 'low']);
  expect(await queue.line('run')).toEqual(
    ['high', 'high too', 'delayed', 'dead', 'first', 'second', 'low'].map((id) => `run ${id}`),
  );
  await queue.configure({ paused: false });
  expect(await queue.held()).toEqual(['holder']);
  expect(await serve(db, 'q', 2)).toEqual(['high', 'high too']);
  expect(await oneOf(db, 'select order_base from signalbox.lines')).toEqual({ order_base: '0' });
  await makeQueues(db, ['another']);
});
