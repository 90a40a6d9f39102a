import { expect, test } from 'vitest';
import { openRacer, waitPatiently } from '../../support/blocked.ts';
import { moveClock } from '../../support/database-clock.ts';
import { freshDatabase } from '../../support/database.ts';
import { expectSoundQueues } from '../../support/sound-queues.ts';
import {
  acquireItem,
  decide,
  enqueueBySql,
  enqueueItem,
  makeQueues,
  oneOf,
  onQueue,
  takeExactly,
} from '../../support/sql-verbs.ts';

test('enqueuing a run once more changes nothing, wherever it is: in line, delayed, held, ended, dead', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q'], { concurrency_limit: null, max_attempts: 1 });
  const queue = onQueue(db, 'q');
  const answer = await queue.enqueue('in.line', { payload: '1' });
  expect(answer).toMatchObject({ code: 'queued', body: { kind: 'run', state: 'waiting', attempts: 0, due_at: null } });
  expect(await queue.enqueue('delayed', { delay_ms: 5000 })).toMatchObject({
    code: 'queued',
    body: { state: 'delayed', due_at: expect.any(String) as string },
  });
  await enqueueBySql(db, 'q', 'in.inbox');
  for (const [id, outcome] of [
    ['held', ''],
    ['ended', 'success'],
    ['failed', 'failure'],
    ['dead', 'retry'],
  ] as const) {
    await queue.enqueue(id, { priority: 9 });
    const [token = 0] = await takeExactly(db, 'q', id);
    if (outcome !== '') await queue.release(id, token, { outcome });
  }
  expect(await queue.dead()).toEqual(['failed: failure', 'dead: max_attempts']);
  for (const id of ['in.line', 'delayed', 'in.inbox', 'held', 'ended', 'failed', 'dead'])
    expect([id, (await queue.enqueue(id, { payload: '2', delay_ms: 0 })).code]).toEqual([id, 'known']);
  expect([await queue.line('run'), await queue.delayed(), await queue.held()]).toEqual([
    ['in.line', 'in.inbox'],
    ['delayed'],
    ['held'],
  ]);
  expect(await oneOf(db, `select payload::text as payload from signalbox.runs where claim_id = 'in.line'`)).toEqual({
    payload: '1',
  });
  await expectSoundQueues(db);
});

test('after claim_memory_ms the id of an ended run is a new run; that of a dead letter stays known', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q'], { claim_memory_ms: 60_000, max_attempts: 1, concurrency_limit: 2 });
  const queue = onQueue(db, 'q');
  for (const id of ['ended', 'dead']) await queue.enqueue(id);
  const [ended = 0, dead = 0] = await takeExactly(db, 'q', 'ended', 'dead');
  await queue.release('ended', ended, { outcome: 'success' });
  await queue.release('dead', dead, { outcome: 'retry' });
  await moveClock(db, 59_000);
  expect((await queue.enqueue('ended')).code).toBe('known');
  await moveClock(db, 61_000);
  expect((await queue.enqueue('ended')).code).toBe('queued');
  expect((await queue.enqueue('dead')).code).toBe('known');
  expect((await queue.acquire('dead')).code).toBe('claim_id_reused');
  await enqueueBySql(db, 'q', 'dead');
  await takeExactly(db, 'q', 'ended');
  expect(await queue.dead()).toEqual(['dead: max_attempts']);
  await expectSoundQueues(db);
});

test('of two enqueues of one id at the same time, one is queued and one is known', async () => {
  await using db = await freshDatabase();
  await waitPatiently(db);
  await makeQueues(db, ['q']);
  const [first, second] = [await openRacer(db), await openRacer(db)];
  await first.client.query('begin');
  expect((await onQueue(first.client, 'q').enqueue('a')).code).toBe('queued');
  const waited = onQueue(second.client, 'q').enqueue('a', { wait: true });
  await second.isBlocked();
  await first.client.query('commit');
  expect((await waited).code).toBe('known');
  expect(await onQueue(db, 'q').line('run')).toEqual(['a']);
});

test('of two enqueues of one id in one batch, the first is queued and the second is known', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q']);
  const answers = await decide(db, [
    enqueueItem('q', 'a', { payload: '1' }),
    enqueueItem('q', 'b'),
    enqueueItem('q', 'a', { payload: '2' }),
  ]);
  expect(answers.filter(({ item }) => item !== null).map(({ item, code }) => [item, code])).toEqual([
    [0, 'queued'],
    [1, 'queued'],
    [2, 'known'],
  ]);
  expect((await onQueue(db, 'q').take()).claims[0]?.body.payload).toBe('1');
});

test.each([
  ['white space and key order', '{ "b" : 1,\n "a":\t2 }'],
  ['a number with a fraction of zero', '1.0'],
  ['a number no double holds', '1e400'],
  ['many digits', '12345678901234567890.123456789012345678901234567890'],
  ['a key that comes twice', '{"a":1,"a":2}'],
  ['an escaped NUL', '"a\\u0000b"'],
  ['a lone surrogate', '"\\ud800"'],
  ['null', 'null'],
  ['characters beyond the first plane', '"😀"'],
])('a payload comes back byte for byte: %s', async (_, payload) => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q'], { concurrency_limit: 2 });
  const queue = onQueue(db, 'q');
  await queue.enqueue('over.http', { payload });
  await enqueueBySql(db, 'q', 'by.sql', { payload });
  const { claims } = await queue.take(2);
  expect(claims.map(({ claim_id, body }) => [claim_id, body.payload])).toEqual([
    ['over.http', payload],
    ['by.sql', payload],
  ]);
  const [token = 0] = claims.map(({ body }) => body.fencing_token);
  await queue.release('over.http', token, { outcome: 'retry', retry_after_ms: 0 });
  expect((await queue.take()).claims[0]?.body.payload).toBe(payload);
});

test('a queue takes max_runs runs, those that are delayed among them, and no more', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q'], { max_runs: 3 });
  const queue = onQueue(db, 'q');
  await queue.enqueue('a');
  await queue.enqueue('b', { delay_ms: 60_000 });
  const answers = await decide(
    db,
    ['c', 'd'].map((id) => enqueueItem('q', id)),
  );
  expect(answers.filter(({ item }) => item !== null).map(({ code }) => code)).toEqual(['queued', 'queue_full']);
  expect((await queue.enqueue('a')).code).toBe('known');
  // What came by SQL was accepted when it committed: it waits in the inbox for room.
  await enqueueBySql(db, 'q', 'e');
  await takeExactly(db, 'q', 'a');
  expect((await queue.enqueue('f')).code).toBe('queue_full');
  expect(await queue.line('run')).toEqual(['c', 'e']);
  await expectSoundQueues(db);
});

test('an id belongs to a claim or to a run, never to both', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q'], { max_attempts: 1, concurrency_limit: 3 });
  const queue = onQueue(db, 'q');
  await queue.hold('claim');
  expect(await queue.enqueue('claim')).toMatchObject({ code: 'known', body: null });
  await queue.enqueue('held');
  await queue.enqueue('dead');
  const [, dead = 0] = await takeExactly(db, 'q', 'held', 'dead');
  await queue.release('dead', dead, { outcome: 'retry' });
  await queue.enqueue('delayed', { delay_ms: 60_000 });
  await queue.enqueue('in.line');
  for (const id of ['held', 'dead', 'delayed', 'in.line'])
    expect([id, (await queue.acquire(id)).code]).toEqual([id, 'claim_id_reused']);
  expect((await queue.acquire('other')).code).toBe('held');
  await queue.acquire('waits');
  expect(await queue.enqueue('waits')).toMatchObject({ code: 'known', body: null });
  await expectSoundQueues(db);
});

test('an enqueue on a line that somebody holds is line_busy and leaves nothing', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q', 'other']);
  const keeper = await openRacer(db);
  await keeper.client.query('begin');
  await keeper.client.query(`select from signalbox.lines where queue = 'q' for no key update`);
  const answers = await decide(db, [enqueueItem('q', 'a'), enqueueItem('other', 'a'), enqueueItem('nowhere', 'a')]);
  expect(answers.filter(({ item }) => item !== null).map(({ item, code }) => [item, code])).toEqual(
    expect.arrayContaining([
      [0, 'line_busy'],
      [1, 'queued'],
      [2, 'queue_not_found'],
    ]),
  );
  await keeper.client.query('commit');
  expect(await onQueue(db, 'q').line('run')).toEqual([]);
});

test('runs in line do not hold up an acquire, and claims in line come before runs', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q']);
  const queue = onQueue(db, 'q');
  for (const id of ['r1', 'r2']) await queue.enqueue(id);
  const [token = 0] = await queue.hold('claim');
  await queue.acquire('next');
  expect((await queue.take()).ids).toEqual([]);
  await queue.release('claim', token);
  expect(await queue.held()).toEqual(['next']);
  expect((await queue.take()).ids).toEqual([]);
  await decide(db, [acquireItem('q', 'third')]);
  await queue.break('next');
  expect(await queue.held()).toEqual(['third']);
  await queue.break('third');
  expect((await queue.take()).ids).toEqual(['r1']);
  await expectSoundQueues(db);
});

test('with more claims in line than one call moves, no run is taken before them', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q'], { paused: true, concurrency_limit: 241 });
  const queue = onQueue(db, 'q');
  await queue.enqueue('run');
  await decide(
    db,
    Array.from({ length: 240 }, (_, index) => acquireItem('q', `claim.${index}`)),
  );
  await queue.configure({ paused: false });
  expect((await queue.take()).ids).toEqual([]);
  expect((await queue.take()).ids).toEqual(['run']);
  expect(await queue.line()).toEqual([]);
});
