import { expect, test } from 'vitest';
import { moveClock } from '../../support/database-clock.ts';
import { freshDatabase, type TestDatabase } from '../../support/database.ts';
import { expectSoundQueues } from '../../support/sound-queues.ts';
import { decide, enqueueItem, makeQueues, oneOf, onQueue, rowsOf, take, takeExactly } from '../../support/sql-verbs.ts';

const later = { outcome: 'retry', retry_after_ms: 10_000 };

/** Runs a, b and c; a was taken and is to be tried again later. */
async function withRetried(db: TestDatabase, settings: object) {
  await makeQueues(db, ['q'], settings);
  await decide(
    db,
    ['a', 'b', 'c'].map((id) => enqueueItem('q', id)),
  );
  const [token = 0] = await takeExactly(db, 'q', 'a');
  await onQueue(db, 'q').release('a', token, later);
  return onQueue(db, 'q');
}

async function blockedBy(db: TestDatabase): Promise<string[]> {
  const rows = await rowsOf<{ claim_id: string }>(
    db,
    `select claim_id from signalbox.delayed where blocks union all
     select claim_id from signalbox.dead_letters where blocks order by 1`,
  );
  return rows.map(({ claim_id }) => claim_id);
}

test.each<[string, object, boolean]>([
  ['no policy at limit 1', {}, true],
  ['no policy at limit 2', { concurrency_limit: 2 }, false],
  ['no policy and no limit', { concurrency_limit: null }, false],
  ['wait at limit 1', { on_failure: 'wait' }, true],
  ['wait at limit 2', { on_failure: 'wait', concurrency_limit: 2 }, true],
  ['wait and no limit', { on_failure: 'wait', concurrency_limit: null }, true],
  ['stop at limit 2', { on_failure: 'stop', concurrency_limit: 2 }, true],
  ['step_around at limit 1', { on_failure: 'step_around' }, false],
])('with %s, those behind a retried run wait for it: %s', async (_, settings, isBlocked) => {
  await using db = await freshDatabase();
  const queue = await withRetried(db, settings);
  expect(await blockedBy(db)).toEqual(isBlocked ? ['a'] : []);
  expect((await queue.look('b')).body.waiting_for).toBe(isBlocked ? 'blocked' : 'taker');
  // What comes before it does not wait for it.
  await queue.enqueue('high', { priority: 1 });
  await takeExactly(db, 'q', 'high');
  await queue.break('high');
  expect((await queue.take()).ids).toEqual(isBlocked ? [] : ['b']);
  expect((await take(db, { prefix: '' })).ids).toEqual(isBlocked ? [] : await nextOf(db));
  await moveClock(db, 10_100);
  await queue.advance();
  if (isBlocked) await takeExactly(db, 'q', 'a');
  await expectSoundQueues(db);
});

/** What the take above could still have given: nothing at limit 1, else the next run. */
async function nextOf(db: TestDatabase): Promise<string[]> {
  const { limit } = await oneOf<{ limit: number | null }>(db, 'select concurrency_limit as limit from signalbox.lines');
  return limit === 1 ? [] : ['c'];
}

test.each(['before the limit was 0', 'while the limit was 0'])(
  'without a policy, a limit of 0 for a while keeps the order: b waits for a, retried %s',
  async (when) => {
    await using db = await freshDatabase();
    await makeQueues(db, ['q']);
    const queue = onQueue(db, 'q');
    await decide(
      db,
      ['a', 'b'].map((id) => enqueueItem('q', id)),
    );
    const [token = 0] = await takeExactly(db, 'q', 'a');
    if (when === 'before the limit was 0') await queue.release('a', token, later);
    await queue.configure({ concurrency_limit: 0 });
    if (when === 'while the limit was 0') await queue.release('a', token, later);
    expect(await blockedBy(db)).toEqual(['a']);
    await queue.configure({ concurrency_limit: 1 });
    expect(await blockedBy(db)).toEqual(['a']);
    expect((await queue.look('b')).body.waiting_for).toBe('blocked');
    expect((await queue.take()).ids).toEqual([]);
    await moveClock(db, 10_100);
    await takeExactly(db, 'q', 'a');
    await expectSoundQueues(db);
  },
);

test('a run that is only enqueued for later keeps nobody waiting', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q'], { on_failure: 'stop' });
  await onQueue(db, 'q').enqueue('a', { delay_ms: 10_000 });
  await onQueue(db, 'q').enqueue('b');
  await takeExactly(db, 'q', 'b');
});

test('a run put back without delay is the next one, so nobody waits for it in between', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q'], { on_failure: 'stop' });
  await decide(
    db,
    ['a', 'b'].map((id) => enqueueItem('q', id)),
  );
  const [token = 0] = await takeExactly(db, 'q', 'a');
  await onQueue(db, 'q').release('a', token, { outcome: 'retry', retry_after_ms: 0 });
  expect(await blockedBy(db)).toEqual([]);
  await takeExactly(db, 'q', 'a');
});

test('claims do not wait for a run that failed', async () => {
  await using db = await freshDatabase();
  const queue = await withRetried(db, { on_failure: 'stop' });
  expect((await queue.acquire('claim')).code).toBe('held');
});

test('of two that wait for their time, those behind the first wait until both are through', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q'], { concurrency_limit: 2, on_failure: 'wait' });
  const queue = onQueue(db, 'q');
  await decide(
    db,
    ['a', 'b', 'c'].map((id) => enqueueItem('q', id)),
  );
  const [a = 0, b = 0] = await takeExactly(db, 'q', 'a', 'b');
  await queue.release('a', a, later);
  await queue.release('b', b, { outcome: 'retry', retry_after_ms: 5000 });
  await moveClock(db, 6000);
  await queue.advance();
  // b is in line again, but stands behind a.
  expect((await queue.take(2)).ids).toEqual([]);
  await moveClock(db, 10_100);
  expect((await queue.take(2)).ids).toEqual(['a', 'b']);
  await expectSoundQueues(db);
});

test.each<[string, object]>([
  ['fails', { outcome: 'failure' }],
  ['has used up its attempts', { outcome: 'retry', retry_after_ms: 0 }],
])('on a queue that stops, a run that %s keeps those behind it waiting for ever', async (_, release) => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q'], { on_failure: 'stop', max_attempts: 1, concurrency_limit: 2 });
  const queue = onQueue(db, 'q');
  await decide(
    db,
    ['a', 'b', 'c'].map((id) => enqueueItem('q', id)),
  );
  const [token = 0] = await takeExactly(db, 'q', 'a');
  await queue.release('a', token, release);
  expect(await blockedBy(db)).toEqual(['a']);
  await moveClock(db, 3_600_000);
  await queue.advance();
  expect((await queue.take(2)).ids).toEqual([]);
  await queue.enqueue('high', { priority: 1 });
  await takeExactly(db, 'q', 'high');
  expect(await rowsOf(db, `select type from signalbox.events where type like 'queue.%blocked'`)).toEqual([
    { type: 'queue.blocked' },
  ]);
  await expectSoundQueues(db);
});

test('on a queue that stops, a run that grows too old in line keeps those behind it waiting, and they are not taken with it', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q'], { on_failure: 'stop', concurrency_limit: 3 });
  const queue = onQueue(db, 'q');
  await queue.enqueue('a', { max_age_ms: 1000 });
  await queue.enqueue('b');
  await moveClock(db, 2000);
  expect((await queue.take(3)).ids).toEqual([]);
  expect((await queue.take(3)).ids).toEqual([]);
  expect([await queue.dead(), await blockedBy(db)]).toEqual([['a: max_age'], ['a']]);
  await expectSoundQueues(db);
});

test.each<[string, object]>([
  ['wait', { on_failure: 'wait' }],
  ['step_around', { on_failure: 'step_around' }],
  ['none, at limit 1', {}],
])('on a queue with policy %s, a dead run keeps nobody waiting', async (_, settings) => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q'], { max_attempts: 1, ...settings });
  const queue = onQueue(db, 'q');
  await decide(
    db,
    ['a', 'b', 'c'].map((id) => enqueueItem('q', id)),
  );
  const [a = 0] = await takeExactly(db, 'q', 'a');
  await queue.release('a', a, { outcome: 'failure' });
  const [b = 0] = await takeExactly(db, 'q', 'b');
  await queue.release('b', b, { outcome: 'retry' });
  await takeExactly(db, 'q', 'c');
  expect(await blockedBy(db)).toEqual([]);
});

test('a change of policy lets those behind go on at once, where it no longer keeps them waiting', async () => {
  await using db = await freshDatabase();
  const queue = await withRetried(db, { on_failure: 'stop', concurrency_limit: 2, max_attempts: 2 });
  await queue.configure({ on_failure: 'wait' });
  expect([await blockedBy(db), (await queue.take()).ids]).toEqual([['a'], []]);
  const changed = await queue.configure({ on_failure: null });
  expect(changed.map(({ code }) => code)).toEqual(['configured', 'ready']);
  expect(await blockedBy(db)).toEqual([]);
  const [b = 0] = await takeExactly(db, 'q', 'b');
  await queue.configure({ on_failure: 'stop' });
  // What waits for its time already was not made to block.
  expect(await blockedBy(db)).toEqual([]);
  await queue.release('b', b, { outcome: 'failure' });
  expect((await queue.take()).ids).toEqual([]);
  await queue.configure({ on_failure: 'wait' });
  await takeExactly(db, 'q', 'c');
  expect(await rowsOf(db, `select type from signalbox.events where type like 'queue.%blocked' order by id`)).toEqual(
    ['queue.blocked', 'queue.unblocked', 'queue.blocked', 'queue.unblocked'].map((type) => ({ type })),
  );
  await expectSoundQueues(db);
});

test('a limit raised from 1 on a queue without a policy lets those behind go on', async () => {
  await using db = await freshDatabase();
  const queue = await withRetried(db, {});
  expect((await queue.take()).ids).toEqual([]);
  await queue.configure({ concurrency_limit: 2 });
  await takeExactly(db, 'q', 'b', 'c');
  await expectSoundQueues(db);
});

test('cancelling the run that the others wait for lets them go on at once', async () => {
  await using db = await freshDatabase();
  const queue = await withRetried(db, {});
  const answers = await decide(db, [{ op: 'cancel', queue: 'q', claim_id: 'a' }]);
  expect(answers.map(({ code }) => code)).toEqual(['cancelled', 'ready']);
  expect((await queue.look('b')).body.waiting_for).toBe('taker');
  await takeExactly(db, 'q', 'b');
  await expectSoundQueues(db);
});
