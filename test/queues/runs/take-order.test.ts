import { expect, test } from 'vitest';
import { openRacer, sqlStateOf, waitPatiently } from '../../support/blocked.ts';
import { moveClock } from '../../support/database-clock.ts';
import { freshDatabase, type TestDatabase } from '../../support/database.ts';
import { expectSoundQueues } from '../../support/sound-queues.ts';
import { decide, enqueueItem, makeQueues, onQueue, rowsOf, take, takeExactly } from '../../support/sql-verbs.ts';

async function fill(db: TestDatabase, queue: string, ...ids: readonly string[]): Promise<void> {
  await decide(
    db,
    ids.map((id) => enqueueItem(queue, id, { priority: Number(/\d+/.exec(id)?.[0] ?? 0) })),
  );
}

test('a run is enqueued, taken, released, and then nothing is left', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q']);
  const queue = onQueue(db, 'q');
  await queue.enqueue('a', { payload: '{"n":1}' });
  const { claims } = await queue.take(1, { holder: 'w' });
  expect(claims).toMatchObject([
    {
      claim_id: 'a',
      body: { state: 'held', kind: 'run', holder: 'w', attempt: 1, max_attempts: 5, payload: '{"n":1}' },
    },
  ]);
  expect((await queue.take()).ids).toEqual([]);
  expect((await queue.release('a', claims[0]?.body.fencing_token ?? 0, { outcome: 'success' })).body).toEqual({
    state: 'released',
  });
  expect((await queue.take()).ids).toEqual([]);
  expect(await rowsOf(db, 'select * from signalbox.runs')).toEqual([]);
  await expectSoundQueues(db);
});

test('singly, higher priorities come first, then those that were there first', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q'], { concurrency_limit: 9 });
  await fill(db, 'q', '1.a', '9', '1.b', '5');
  const ids = [];
  for (let index = 0; index < 4; index++) ids.push(...(await onQueue(db, 'q').take()).ids);
  expect(ids).toEqual(['9', '5', '1.a', '1.b']);
});

test.each([
  [
    ['1', '9', '5'],
    ['9', '5', '1'],
  ],
  [
    ['9.a', '1.a', '9.b', '1.b'],
    ['9.a', '9.b', '1.a', '1.b'],
  ],
])('in one take of all, the order is the same: %j', async (enqueued, taken) => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q'], { concurrency_limit: 9 });
  await fill(db, 'q', ...enqueued);
  expect((await onQueue(db, 'q').take(9)).ids).toEqual(taken);
});

test('with the high one held, the low one is next', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q'], { concurrency_limit: 2 });
  await fill(db, 'q', '1', '9');
  await takeExactly(db, 'q', '9');
  await takeExactly(db, 'q', '1');
});

test('a take of 2 of 3 leaves one', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q'], { concurrency_limit: 9 });
  await fill(db, 'q', 'a', 'b', 'c');
  const { ids, more } = await onQueue(db, 'q').take(2);
  expect([ids, more]).toEqual([['a', 'b'], true]);
  expect([await onQueue(db, 'q').held(), await onQueue(db, 'q').line('run')]).toEqual([['a', 'b'], ['c']]);
});

test('two takers drain 50 runs without one of them twice, and no call gives more than max', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q'], { concurrency_limit: null });
  const all = Array.from({ length: 50 }, (_, index) => `run.${index}`);
  await decide(
    db,
    all.map((id) => enqueueItem('q', id)),
  );
  const taken: string[] = [];
  const drain = async (source: object) => {
    const client = await db.connect();
    while (taken.length < 50) {
      const { ids } = await take(client, { ...source, max: 3 });
      expect(ids.length).toBeLessThanOrEqual(3);
      taken.push(...ids);
    }
  };
  await Promise.all([drain({ queue: 'q' }), drain({ prefix: '' })]);
  expect(taken.toSorted()).toEqual(all.toSorted());
  await expectSoundQueues(db);
});

test('of five runs, two takers of three get three and two, each its own, though the second had to wait', async () => {
  await using db = await freshDatabase();
  await waitPatiently(db);
  await makeQueues(db, ['q'], { concurrency_limit: null });
  await fill(db, 'q', 'a', 'b', 'c', 'd', 'e');
  const [first, second] = [await openRacer(db), await openRacer(db)];
  await first.client.query('begin');
  expect((await take(first.client, { queue: 'q', max: 3 })).ids).toEqual(['a', 'b', 'c']);
  const waited = take(second.client, { queue: 'q', max: 3 }, { wait: true });
  await second.isBlocked();
  await first.client.query('commit');
  expect((await waited).ids).toEqual(['d', 'e']);
});

test('a line that somebody holds is passed over and reported busy, its neighbours are served', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['a', 'b']);
  for (const queue of ['a', 'b']) await onQueue(db, queue).enqueue(`of.${queue}`);
  const keeper = await openRacer(db);
  await keeper.client.query('begin');
  await keeper.client.query(`select from signalbox.lines where queue = 'a' for no key update`);
  expect(await take(db, { queue: 'a' })).toMatchObject({ ids: [], busy: true });
  expect(await take(db, { prefix: '', max: 5 })).toMatchObject({ ids: ['of.b'], busy: true });
  expect(await take(db, { prefix: 'a' })).toMatchObject({ ids: [], busy: true });
  await keeper.client.query('commit');
  expect(await take(db, { prefix: 'a' })).toMatchObject({ ids: ['of.a'], busy: false });
});

test('a queue that another take is at work on is passed over and reported busy', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q'], { concurrency_limit: 2 });
  await fill(db, 'q', 'a', 'b');
  const first = await openRacer(db);
  await first.client.query('begin');
  expect((await take(first.client, { prefix: '' })).ids).toEqual(['a']);
  expect(await take(db, { prefix: '' })).toMatchObject({ ids: [], busy: true });
  await first.client.query('commit');
  expect(await take(db, { prefix: '' })).toMatchObject({ ids: ['b'], busy: false });
});

test('a waiting take gives up after 250 ms with 55P03', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q']);
  await onQueue(db, 'q').enqueue('a');
  const keeper = await openRacer(db);
  await keeper.client.query('begin');
  await keeper.client.query(`select from signalbox.lines where queue = 'q' for no key update`);
  expect(await sqlStateOf(take(db, { queue: 'q' }, { wait: true }))).toBe('55P03');
});

test('claims and runs share the places of a queue', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q'], { concurrency_limit: 3 });
  const queue = onQueue(db, 'q');
  const [token = 0] = await queue.hold('claim');
  await fill(db, 'q', 'a', 'b', 'c');
  expect((await queue.take(9)).ids).toEqual(['a', 'b']);
  await queue.release('claim', token);
  expect((await queue.take(9)).ids).toEqual(['c']);
  expect((await queue.acquire('late')).code).toBe('waiting');
  await expectSoundQueues(db);
});

test.each<[string, object, readonly string[]]>([
  ['paused', { paused: true }, []],
  ['of limit 0', { concurrency_limit: 0 }, []],
  ['whose limit was lowered below its holders', { concurrency_limit: 1 }, []],
  ['whose limit was raised', { concurrency_limit: 3 }, ['c']],
  ['whose limit was taken away', { concurrency_limit: null }, ['c', 'd']],
])('from a queue %s a take gives what its places allow', async (_, settings, expected) => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q'], { concurrency_limit: 2 });
  const queue = onQueue(db, 'q');
  await fill(db, 'q', 'a', 'b', 'c', 'd');
  await takeExactly(db, 'q', 'a', 'b');
  await queue.configure(settings);
  expect((await queue.take(9)).ids).toEqual(expected);
  expect((await take(db, { prefix: '', max: 9 })).ids).toEqual([]);
  await expectSoundQueues(db);
});

test('a lowered limit gives nothing until enough have ended', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q'], { concurrency_limit: 3 });
  const queue = onQueue(db, 'q');
  await fill(db, 'q', 'a', 'b', 'c', 'd');
  const tokens = await takeExactly(db, 'q', 'a', 'b', 'c');
  await queue.configure({ concurrency_limit: 2 });
  await queue.release('a', tokens[0] ?? 0);
  expect((await queue.take()).ids).toEqual([]);
  await queue.release('b', tokens[1] ?? 0);
  expect((await queue.take()).ids).toEqual(['d']);
});

test('the ttl is that of the taker, shortened to what the queue allows; of a named queue it is refused', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q'], { max_ttl_ms: 20_000, default_ttl_ms: 10_000, concurrency_limit: 9 });
  await fill(db, 'q', 'a', 'b', 'c');
  const ttlOf = async (item: object) => (await take(db, { prefix: '', ...item })).claims[0]?.body.ttl_remaining_ms ?? 0;
  expect(Math.round((await ttlOf({})) / 1000)).toBe(10);
  expect(Math.round((await ttlOf({ ttl_ms: 5000 })) / 1000)).toBe(5);
  expect(Math.round((await ttlOf({ ttl_ms: 90_000 })) / 1000)).toBe(20);
  const refused = await take(db, { queue: 'q', ttl_ms: 20_001 });
  expect(refused.others).toMatchObject([{ code: 'ttl_too_long', body: { max_ttl_ms: 20_000 } }]);
});

test('the payloads of one answer are bounded, and at least one run is always given', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q', 'r'], { concurrency_limit: null });
  const payload = `"${'x'.repeat(262_142)}"`;
  for (const queue of ['q', 'r'])
    for (let index = 0; index < 12; index++) await onQueue(db, queue).enqueue(`${queue}.${index}`, { payload });
  const first = await take(db, { prefix: '', max: 24 });
  expect([first.ids.length, first.more]).toEqual([16, true]);
  expect((await take(db, { prefix: '', max: 24, bytes: 600_000 })).ids).toHaveLength(2);
  expect((await take(db, { prefix: '', max: 24 })).ids).toHaveLength(6);
});

test('a taker that waited for the line sees what the one before it took', async () => {
  await using db = await freshDatabase();
  await waitPatiently(db);
  await makeQueues(db, ['q']);
  await fill(db, 'q', 'a', 'b');
  const [first, second] = [await openRacer(db), await openRacer(db)];
  await first.client.query('begin');
  await takeExactly(first.client, 'q', 'a');
  const waited = take(second.client, { queue: 'q' }, { wait: true });
  await second.isBlocked();
  await first.client.query('commit');
  expect((await waited).ids).toEqual([]);
  expect(await onQueue(db, 'q').held()).toEqual(['a']);
});

test('a run that is delayed comes when it is due, at the place it was enqueued at', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q']);
  const queue = onQueue(db, 'q');
  await queue.enqueue('later', { delay_ms: 10_000 });
  await queue.enqueue('now');
  expect(await queue.look('later')).toMatchObject({
    code: 'waiting',
    body: { state: 'delayed', waiting_for: 'not_before' },
  });
  expect((await queue.take()).ids).toEqual(['now']);
  await queue.enqueue('next');
  await moveClock(db, 9000);
  await queue.advance();
  expect(await queue.line('run')).toEqual(['next']);
  await moveClock(db, 10_100);
  await queue.advance();
  expect(await queue.line('run')).toEqual(['later', 'next']);
  await expectSoundQueues(db);
});

test.each(['queue', 'prefix'])('a take by %s finds what has become due without anybody else moving it', async (by) => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q']);
  await onQueue(db, 'q').enqueue('a', { delay_ms: 1000 });
  const source = by === 'queue' ? { queue: 'q' } : { prefix: '' };
  expect((await take(db, source)).ids).toEqual([]);
  await moveClock(db, 1500);
  expect((await take(db, source)).ids).toEqual(['a']);
});
