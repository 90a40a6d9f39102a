import { expect, test } from 'vitest';
import { freshDatabase, type TestDatabase } from '../support/database.ts';
import { moveClock } from '../support/database-clock.ts';
import { acquireItem, decide, makeQueues, oneOf, onQueue, rowsOf } from '../support/sql-verbs.ts';

async function lead(db: TestDatabase): Promise<() => Promise<number>> {
  await rowsOf(db, `select * from signalbox_v1.campaign('leader', 864000000)`);
  const { epoch } = await oneOf<{ epoch: string }>(db, 'select epoch from signalbox.orchestrator_lock');
  return async () =>
    (await oneOf<{ swept: number }>(db, `select signalbox_v1.sweep_registers('leader', $1) as swept`, [epoch])).swept;
}
const turns = (db: TestDatabase) => rowsOf(db, 'select queue, value from signalbox.turns order by 1, 2');

test('turns that the rotation has passed go, and those that count stay', async () => {
  await using db = await freshDatabase();
  const sweep = await lead(db);
  await makeQueues(db, ['q'], { rotate_by: 'tenant' });
  const ask = (id: string) => acquireItem('q', id, { labels: { tenant: id.slice(0, 1) } });
  await decide(db, ['a1', 'b1', 'c1', 'c2', 'c3'].map(ask));
  const queue = onQueue(db, 'q');
  for (const id of ['a1', 'b1', 'c1', 'c2']) await queue.release(id, (await queue.look(id)).body.fencing_token);
  // Nobody is looked at before an hour has passed.
  expect(await sweep()).toBe(0);
  await moveClock(db, 3_700_000);
  expect(await sweep()).toBe(2);
  expect(await turns(db)).toEqual([{ queue: 'q', value: 'c' }]);
  expect(await sweep()).toBe(0);
  await queue.delete({ force: true });
  expect(await turns(db)).toEqual([]);
});

test('batches go a day after the last of them joined, and with their queue', async () => {
  await using db = await freshDatabase();
  const sweep = await lead(db);
  await makeQueues(db, ['q', 'other']);
  await onQueue(db, 'q').acquire('a', { batch: 'old' });
  await onQueue(db, 'other').acquire('a', { batch: 'old' });
  await moveClock(db, 80_000_000);
  await onQueue(db, 'q').enqueue('r', { batch: 'new' });
  await moveClock(db, 90_000_000);
  expect(await sweep()).toBe(2);
  expect(await rowsOf(db, 'select queue, kind, batch from signalbox.batches')).toEqual([
    { queue: 'q', kind: 'run', batch: 'new' },
  ]);
  await onQueue(db, 'q').delete({ force: true });
  expect(await rowsOf(db, 'select from signalbox.batches')).toEqual([]);
});

test('a sweep looks at a hundred turns, however many there are, and at others the next time', async () => {
  await using db = await freshDatabase();
  const sweep = await lead(db);
  await makeQueues(db, ['q'], { rotate_by: 'tenant' });
  await db.query(`insert into signalbox.turns (queue, kind, value, next_turn, checked_at)
    select 'q', 'claim', 't' || n, 5000, signalbox.clock() - interval '2 hours' - n * interval '1 ms'
    from generate_series(1, 20000) n`);
  await db.query('analyze signalbox.turns');
  const client = await db.connect();
  const read = async () => {
    await client.query('select pg_stat_force_next_flush()');
    await db.query('select pg_stat_force_next_flush()');
    const [row] = await rowsOf<{ rows: number }>(
      client,
      `select (seq_tup_read + idx_tup_fetch)::integer as rows from pg_stat_user_tables where relname = 'turns'`,
    );
    return row?.rows ?? 0;
  };
  const before = await read();
  expect(await sweep()).toBe(0);
  expect(await sweep()).toBe(0);
  expect((await read()) - before).toBeLessThan(2000);
  expect(
    await oneOf(
      db,
      `select count(*)::integer as looked from signalbox.turns where checked_at > signalbox.clock() - interval '1 hour'`,
    ),
  ).toEqual({ looked: 200 });
});
