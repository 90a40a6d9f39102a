import { expect, test } from 'vitest';
import { openRacer, sqlStateOf, waitPatiently } from '../../support/blocked.ts';
import { freshDatabase } from '../../support/database.ts';
import { expectSoundQueues } from '../../support/sound-queues.ts';
import { enqueueBySql, makeQueues, oneOf, onQueue, rowsOf, take, takeExactly } from '../../support/sql-verbs.ts';

test("with the user's own insert, both are there after a commit and neither after a rollback", async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q'], { concurrency_limit: 9 });
  await db.query('create table orders (id text)');
  const { client } = await openRacer(db);
  for (const [id, end] of [
    ['kept', 'commit'],
    ['dropped', 'rollback'],
  ] as const) {
    await client.query('begin');
    await client.query('insert into orders values ($1)', [id]);
    await enqueueBySql(client, 'q', id);
    expect((await onQueue(db, 'q').take(9)).ids).toEqual([]);
    await client.query(end);
    expect((await onQueue(db, 'q').take(9)).ids).toEqual(end === 'commit' ? [id] : []);
  }
  expect(await rowsOf(db, 'select id from orders')).toEqual([{ id: 'kept' }]);
});

test('an enqueue by SQL never waits for the lock of a line', async () => {
  await using db = await freshDatabase();
  await waitPatiently(db);
  await makeQueues(db, ['q']);
  const [keeper, user] = [await openRacer(db), await openRacer(db)];
  await keeper.client.query('begin');
  await keeper.client.query(`select from signalbox.lines where queue = 'q' for update`);
  await user.client.query(`set lock_timeout = '1ms'`);
  await user.client.query('begin');
  await enqueueBySql(user.client, 'q', 'a');
  await user.client.query('commit');
  await keeper.client.query('commit');
  await takeExactly(db, 'q', 'a');
});

test('and nobody waits for a user who keeps a transaction open after an enqueue', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q'], { concurrency_limit: 2 });
  const { client } = await openRacer(db);
  await client.query('begin');
  await enqueueBySql(client, 'q', 'late');
  const queue = onQueue(db, 'q');
  expect((await queue.enqueue('late')).code).toBe('queued');
  await enqueueBySql(db, 'q', 'other');
  expect((await queue.take(2)).ids).toEqual(['late', 'other']);
  await client.query('commit');
  expect((await queue.take()).ids).toEqual([]);
  await expectSoundQueues(db);
});

test.each(['repeatable read', 'serializable'])('callers in %s may enqueue, and nothing that decides', async (level) => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q']);
  const { client } = await openRacer(db);
  await client.query(`begin isolation level ${level}`);
  await client.query('select count(*) from signalbox.lines');
  await onQueue(db, 'q').enqueue('meanwhile');
  await enqueueBySql(client, 'q', 'a');
  await client.query('commit');
  for (const call of [
    `signalbox_v1.decide('[{"op": "enqueue", "queue": "q", "claim_id": "b"}]')`,
    `signalbox_v1.take('[{"holder": "w", "queue": "q"}]')`,
    `signalbox_v1.renew_held('w', null)`,
    `signalbox_v1.advance(array['q'])`,
  ]) {
    await client.query(`begin isolation level ${level}`);
    expect([call, await sqlStateOf(client.query(`select * from ${call}`))]).toEqual([call, '25001']);
    await client.query('rollback');
  }
  await takeExactly(db, 'q', 'meanwhile');
});

test('a transaction that commits late is neither lost nor breaks the order, and at limit 1 never two are held', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q']);
  const queue = onQueue(db, 'q');
  const [early, late] = [await openRacer(db), await openRacer(db)];
  await early.client.query('begin');
  await enqueueBySql(early.client, 'q', 'first.written');
  await late.client.query('begin');
  await enqueueBySql(late.client, 'q', 'first.committed');
  await late.client.query('commit');
  const [token = 0] = await takeExactly(db, 'q', 'first.committed');
  await early.client.query('commit');
  expect((await queue.take()).ids).toEqual([]);
  expect((await take(db, { prefix: '' })).ids).toEqual([]);
  expect(await queue.held()).toEqual(['first.committed']);
  // Its seq is that of the moment it came into the line: behind what was there, before what comes now.
  await queue.enqueue('later');
  expect(await queue.line('run')).toEqual(['first.written', 'later']);
  await queue.release('first.committed', token, { outcome: 'retry', retry_after_ms: 0 });
  expect(await queue.line('run')).toEqual(['first.committed', 'first.written', 'later']);
  await expectSoundQueues(db);
});

test('the order within a transaction is kept, also beside another one', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q'], { concurrency_limit: null });
  const [one, other] = [await openRacer(db), await openRacer(db)];
  await one.client.query('begin');
  await other.client.query('begin');
  for (let index = 0; index < 20; index++) {
    await enqueueBySql(one.client, 'q', `one.${index}`);
    await enqueueBySql(other.client, 'q', `other.${index}`);
  }
  await other.client.query('commit');
  await one.client.query('commit');
  const { ids } = await onQueue(db, 'q').take(100);
  for (const name of ['one', 'other'])
    expect(ids.filter((id) => id.startsWith(`${name}.`))).toEqual(
      Array.from({ length: 20 }, (_, index) => `${name}.${index}`),
    );
});

test('of two transactions that enqueue one id, one run comes; an id that ended is remembered', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q'], { concurrency_limit: 3 });
  const queue = onQueue(db, 'q');
  const [one, other] = [await openRacer(db), await openRacer(db)];
  for (const racer of [one, other]) {
    await racer.client.query('begin');
    await enqueueBySql(racer.client, 'q', 'a', { payload: '1' });
    await enqueueBySql(racer.client, 'q', 'a', { payload: '2' });
  }
  await one.client.query('commit');
  await other.client.query('commit');
  const { claims } = await queue.take(3);
  expect(claims.map(({ claim_id, body }) => [claim_id, body.payload])).toEqual([['a', '1']]);
  await enqueueBySql(db, 'q', 'a');
  expect((await queue.take(3)).ids).toEqual([]);
  await queue.release('a', claims[0]?.body.fencing_token ?? 0);
  await enqueueBySql(db, 'q', 'a');
  expect((await queue.take(3)).ids).toEqual([]);
  expect(await oneOf(db, 'select count(*)::int as left from signalbox.inbox')).toEqual({ left: 0 });
  await expectSoundQueues(db);
});

test('runs of a queue that does not exist wait for it', async () => {
  await using db = await freshDatabase();
  await enqueueBySql(db, 'new', 'a');
  const first = await take(db, { prefix: '' });
  expect([first.ids, first.others.map(({ code, queue }) => [code, queue])]).toEqual([[], [['queue_missing', 'new']]]);
  await makeQueues(db, ['new']);
  expect((await take(db, { prefix: '' })).ids).toEqual(['a']);
});

test('priority, delay, attempts and age are those of the caller; age and delay count from its enqueue', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q'], { concurrency_limit: 9 });
  const queue = onQueue(db, 'q');
  await enqueueBySql(db, 'q', 'low');
  await enqueueBySql(db, 'q', 'high', { priority: 5, max_attempts: 2 });
  await enqueueBySql(db, 'q', 'later', { delay_ms: 60_000 });
  await db.query(`select signalbox_v1.enqueue('q', 'short', null, 0, '{"team": "a"}', 0, null, 1000)`);
  const { claims } = await queue.take(9);
  expect(claims.map(({ claim_id, body }) => [claim_id, body.max_attempts])).toEqual([
    ['high', 2],
    ['low', 5],
    ['short', 5],
  ]);
  expect(await queue.delayed()).toEqual(['later']);
  expect(
    await oneOf(
      db,
      `select extract(epoch from r.dead_after - l.enqueued_at)::int as age from signalbox.runs r
       join signalbox.leases l using (queue, claim_id) where claim_id = 'short'`,
    ),
  ).toEqual({ age: 1 });
});

const good = {
  queue: 'q',
  claim: 'a',
  payload: 'null',
  priority: 0,
  labels: '{}',
  delay: 0,
  attempts: null,
  age: null,
};
test.each<[string, Partial<Record<keyof typeof good, unknown>>]>([
  ['no queue', { queue: null }],
  ['a queue of no characters', { queue: '' }],
  ['a queue with a space', { queue: 'a b' }],
  ['a queue of dots', { queue: '..' }],
  ['a queue with a line break', { queue: 'a\n' }],
  ['a queue of 201 characters', { queue: 'a'.repeat(201) }],
  ['no id', { claim: null }],
  ['an id with an umlaut', { claim: 'ü' }],
  ['an id of dots', { claim: '.' }],
  ['a payload of 262145 bytes', { payload: `"${'x'.repeat(262_143)}"` }],
  ['a payload of too many bytes in fewer characters', { payload: `"${'ü'.repeat(131_072)}"` }],
  ['no priority', { priority: null }],
  ['a priority above 1000000', { priority: 1_000_001 }],
  ['a priority below -1000000', { priority: -1_000_001 }],
  ['no labels', { labels: null }],
  ['labels that are a list', { labels: '[]' }],
  ['a label that is no text', { labels: '{"a": 1}' }],
  ['33 labels', { labels: JSON.stringify(Object.fromEntries(Array.from({ length: 33 }, (_, n) => [`l${n}`, '']))) }],
  ['a label name of 64 characters', { labels: JSON.stringify({ ['a'.repeat(64)]: '' }) }],
  ['a label value of 201 characters', { labels: JSON.stringify({ a: 'b'.repeat(201) }) }],
  ['no delay', { delay: null }],
  ['a delay below 0', { delay: -1 }],
  ['a delay of more than a year', { delay: 31_536_000_001 }],
  ['0 attempts', { attempts: 0 }],
  ['1001 attempts', { attempts: 1001 }],
  ['an age below a second', { age: 999 }],
  ['an age of more than a year', { age: 31_536_000_001 }],
  ['a delay as long as the age', { delay: 5000, age: 5000 }],
  ['labels that are lists', { labels: '{"a": ["x"]}' }],
])('an enqueue by SQL refuses %s with 22023', async (_, bad) => {
  await using db = await freshDatabase();
  const value = { ...good, ...bad };
  const call = db.query('select signalbox_v1.enqueue($1, $2, $3, $4, $5, $6, $7, $8)', Object.values(value));
  expect(await sqlStateOf(call)).toBe('22023');
  expect(await rowsOf(db, 'select queue from signalbox.inbox')).toEqual([]);
});

test('an enqueue by SQL takes every bound', async () => {
  await using db = await freshDatabase();
  const widest = { queue: 'a'.repeat(200), claim: '@:/-_.', payload: `"${'x'.repeat(262_142)}"`, priority: 1_000_000 };
  for (const value of [
    { ...good, ...widest, delay: 31_535_999_999, attempts: 1000, age: 31_536_000_000 },
    { ...good, delay: 31_536_000_000, age: null },
    { ...good, priority: -1_000_000, payload: null, attempts: 1, age: 1000 },
  ])
    await db.query('select signalbox_v1.enqueue($1, $2, $3, $4, $5, $6, $7, $8)', Object.values(value));
  expect(await rowsOf(db, 'select queue from signalbox.inbox')).toHaveLength(3);
});
