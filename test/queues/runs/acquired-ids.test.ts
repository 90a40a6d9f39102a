import { expect, test } from 'vitest';
import { openRacer, sqlStateOf } from '../../support/blocked.ts';
import { moveClock } from '../../support/database-clock.ts';
import { freshDatabase } from '../../support/database.ts';
import { expectSoundQueues } from '../../support/sound-queues.ts';
import { acquireItem, decide, enqueueBySql, makeQueues, oneOf, onQueue, rowsOf } from '../../support/sql-verbs.ts';

test.each(['held', 'waits', 'released', 'cancelled'])(
  'an enqueue by SQL of the id of an acquired claim, %s, fails, and nothing of its transaction is there',
  async (id) => {
    await using db = await freshDatabase();
    await makeQueues(db, ['q'], { claim_memory_ms: 60_000 });
    const queue = onQueue(db, 'q');
    const [token = 0] = await queue.hold('released');
    await queue.release('released', token);
    await queue.hold('held');
    for (const claimId of ['cancelled', 'waits']) expect((await queue.acquire(claimId)).code).toBe('waiting');
    await queue.cancel('cancelled');
    await db.query('create table orders (id text)');
    const { client } = await openRacer(db);
    await client.query('begin');
    await client.query('insert into orders values ($1)', [id]);
    await enqueueBySql(client, 'q', 'before');
    expect(await sqlStateOf(enqueueBySql(client, 'q', id))).toBe('23505');
    await client.query('commit');
    expect(await rowsOf(db, 'select id from orders')).toEqual([]);
    expect(await rowsOf(db, 'select claim_id from signalbox.inbox')).toEqual([]);
    // What a run had, an enqueue may have again: that is a duplicate, not a mistake.
    await enqueueBySql(db, 'q', 'run');
    await enqueueBySql(db, 'q', 'run');
  },
);

test('one that ended longer ago than claim_memory_ms is forgotten: its id is free for a run', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q'], { claim_memory_ms: 60_000 });
  const [token = 0] = await onQueue(db, 'q').hold('a');
  await onQueue(db, 'q').release('a', token);
  await moveClock(db, 61_000);
  await enqueueBySql(db, 'q', 'a');
  expect((await onQueue(db, 'q').take()).ids).toEqual(['a']);
});

test.each([
  ['in a new queue', {}, 0, []],
  ['in a queue with a free slot', {}, 1, []],
  ['in a wide queue', { concurrency_limit: null }, 1, []],
  ['where it would wait', {}, 1, ['holder']],
])('an acquire of an id that is in the inbox is claim_id_reused: %s', async (_, settings, used, holders) => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q'], settings);
  const queue = onQueue(db, 'q');
  for (let n = 0; n < used; n++) {
    const [token = 0] = await queue.hold('before');
    await queue.release('before', token);
  }
  await queue.hold(...holders);
  await enqueueBySql(db, 'q', 'a');
  expect((await queue.acquire('a')).code).toBe('claim_id_reused');
  for (const holder of holders) await queue.break(holder);
  expect((await queue.take(3)).ids).toEqual(['a']);
  await expectSoundQueues(db);
});

test('and so it is for one of several acquires of a batch; the others get their places', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q'], { concurrency_limit: 3 });
  await enqueueBySql(db, 'q', 'a');
  const answers = await decide(
    db,
    ['first', 'a', 'last'].map((id) => acquireItem('q', id)),
  );
  expect(answers.filter(({ item }) => item !== null).map(({ code }) => code)).toEqual([
    'held',
    'claim_id_reused',
    'held',
  ]);
  expect((await onQueue(db, 'q').take(3)).ids).toEqual(['a']);
});

test('of an id that is acquired while its enqueue is not committed, the run is dropped, and an event says why', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q'], { concurrency_limit: 3 });
  const queue = onQueue(db, 'q');
  const { client } = await openRacer(db);
  await client.query('begin');
  await enqueueBySql(client, 'q', 'a');
  const [token = 0] = await queue.hold('a');
  await client.query('commit');
  await enqueueBySql(db, 'q', 'b');
  await enqueueBySql(db, 'q', 'b');
  expect((await queue.take(3)).ids).toEqual(['b']);
  expect((await queue.renew('a', token)).code).toBe('renewed');
  expect(await oneOf(db, 'select count(*)::int as left from signalbox.inbox')).toEqual({ left: 0 });
  expect(
    await rowsOf(db, `select claim_id, data ->> 'reason' as reason from signalbox.events where type = 'claim.dropped'`),
  ).toEqual([
    { claim_id: 'a', reason: 'claim_id_reused' },
    { claim_id: 'b', reason: 'known' },
  ]);
  await expectSoundQueues(db);
});
