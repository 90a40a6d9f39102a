import { expect, test } from 'vitest';
import { openRacer, waitPatiently } from '../../support/blocked.ts';
import { freshDatabase } from '../../support/database.ts';
import { expectSoundQueues } from '../../support/sound-queues.ts';
import {
  acquireItem,
  decide,
  enqueueBySql,
  enqueueItem,
  makeQueues,
  onQueue,
  rowsOf,
} from '../../support/sql-verbs.ts';

test('a closed queue takes nothing new and serves what it knows', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q']);
  const queue = onQueue(db, 'q');
  const [token = 0] = await queue.hold('a');
  await queue.acquire('b');
  await queue.enqueue('run');
  await queue.configure({ closed: true });
  for (const mode of ['wait', 'skip_if_busy', 'latest_only'])
    expect((await queue.acquire(`new ${mode}`, { mode })).code).toBe('queue_closed');
  expect((await queue.enqueue('new run')).code).toBe('queue_closed');
  // What is known is answered as ever.
  expect((await queue.acquire('a')).code).toBe('held');
  expect((await queue.acquire('b')).code).toBe('waiting');
  expect((await queue.enqueue('run')).code).toBe('known');
  expect((await queue.renew('a', token)).code).toBe('renewed');
  expect((await queue.release('a', token, { outcome: 'retry', retry_after_ms: 0 })).code).toBe('released');
  expect([await queue.held(), await queue.line()]).toEqual([['a'], ['b']]);
  const again = await queue.look('a');
  await queue.release('a', again.body.fencing_token);
  await queue.release('b', (await queue.look('b')).body.fencing_token);
  expect((await queue.take()).ids).toEqual(['run']);
  await queue.configure({ closed: false });
  expect((await queue.enqueue('new run')).code).toBe('queued');
  await expectSoundQueues(db);
});

test('runs enqueued from SQL stay in the inbox until the queue is opened; a cancel finds them there', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q'], { closed: true, concurrency_limit: 2 });
  const queue = onQueue(db, 'q');
  for (const claim of ['one', 'two', 'three']) await enqueueBySql(db, 'q', claim);
  expect((await queue.take()).ids).toEqual([]);
  await rowsOf(db, `select * from signalbox_v1.campaign('r1', 600000)`);
  expect(await rowsOf(db, `select * from signalbox_v1.sweep_inbox('r1', 1)`)).toEqual([]);
  expect((await queue.enqueue('one')).code).toBe('known');
  expect((await queue.cancel('two')).code).toBe('cancelled');
  expect((await queue.look('one')).code).toBe('waiting');
  expect(await queue.line('run')).toEqual([]);
  await queue.configure({ closed: false });
  expect((await queue.take(5)).ids).toEqual(['one', 'three']);
  await expectSoundQueues(db);
});

test('of one batch each operation is refused by itself', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['closed'], { closed: true });
  await makeQueues(db, ['open']);
  const answers = await decide(db, [
    acquireItem('closed', 'a'),
    acquireItem('open', 'a'),
    enqueueItem('closed', 'r'),
    enqueueItem('open', 'r'),
  ]);
  expect(answers.filter(({ item }) => item !== null).toSorted((a, b) => Number(a.item) - Number(b.item))).toMatchObject(
    [{ code: 'queue_closed' }, { code: 'held' }, { code: 'queue_closed' }, { code: 'queued' }],
  );
});

test('a claim that arrives while the queue is being closed is refused', async () => {
  await using db = await freshDatabase();
  await waitPatiently(db);
  await makeQueues(db, ['q']);
  const [first, second] = [await openRacer(db), await openRacer(db)];
  await first.client.query('begin');
  await onQueue(first.client, 'q').configure({ closed: true });
  const late = onQueue(second.client, 'q').acquire('a', { wait: true });
  await second.isBlocked();
  await first.client.query('commit');
  expect((await late).code).toBe('queue_closed');
});
