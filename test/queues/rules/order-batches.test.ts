import { expect, test } from 'vitest';
import { moveClock } from '../../support/database-clock.ts';
import { freshDatabase } from '../../support/database.ts';
import { serve, work } from '../../support/served.ts';
import {
  acquireItem,
  decide,
  enqueueBySql,
  enqueueItem,
  makeQueues,
  oneOf,
  onQueue,
  rowsOf,
} from '../../support/sql-verbs.ts';

test('claims of one batch stand where its first does, in the order in which they came, whoever comes between them', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q']);
  const queue = onQueue(db, 'q');
  await queue.hold('holder');
  for (const [id, batch] of [
    ['a1', 'a'],
    ['b1', 'b'],
    ['alone', undefined],
    ['a2', 'a'],
    ['b2', 'b'],
    ['a3', 'a'],
  ] as const)
    await queue.acquire(id, { batch });
  expect(await queue.line()).toEqual(['a1', 'a2', 'a3', 'b1', 'b2', 'alone']);
  // Also when some of them have had their turn already: the rest is next.
  expect(await serve(db, 'q', 3)).toEqual(['a1', 'a2', 'a3']);
  await queue.acquire('a4', { batch: 'a' });
  expect((await queue.look('a4')).body.position).toBe(1);
  expect(await serve(db, 'q')).toEqual(['a4', 'b1', 'b2', 'alone']);
});

test('a batch is open for ten minutes from its first claim, so one that never ends keeps nobody waiting for longer', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q'], { paused: true });
  const queue = onQueue(db, 'q');
  await queue.acquire('a1', { batch: 'a' });
  await queue.acquire('alone');
  for (let minute = 1; minute <= 9; minute++) {
    await moveClock(db, minute * 60_000);
    await queue.acquire(`a${minute + 1}`, { batch: 'a' });
  }
  await moveClock(db, 601_000);
  await queue.acquire('late1', { batch: 'a' });
  await queue.acquire('alone2');
  await queue.acquire('late2', { batch: 'a' });
  const line = (
    await rowsOf<{ claim_id: string }>(
      db,
      `select claim_id from signalbox.waiting where queue = 'q' order by place, seq, rank`,
    )
  ).map(({ claim_id: id }) => id);
  expect(line.slice(-4)).toEqual(['alone', 'late1', 'late2', 'alone2']);
});

test('a batch begins with its first claim also where that is granted at once, alone or with others in one call', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q', 'wide', 'other'], { concurrency_limit: 1 });
  await makeQueues(db, ['wide'], { concurrency_limit: 300 });
  await onQueue(db, 'wide').configure({ concurrency_limit: 1 });
  for (const name of ['q', 'wide']) {
    const queue = onQueue(db, name);
    const answers = await decide(db, [
      acquireItem(name, 'a1', { batch: 'a' }),
      acquireItem('other', `${name} a1`, { batch: 'a' }),
    ]);
    expect(answers.find(({ item }) => item === 0)?.code).toBe('held');
    await queue.acquire('b1', { batch: 'b' });
    await queue.acquire('a2', { batch: 'a' });
    await queue.acquire('b2', { batch: 'b' });
    await queue.acquire('a3', { batch: 'a' });
    expect(await queue.line()).toEqual(['a2', 'a3', 'b1', 'b2']);
    // What was granted at once goes back to where its batch began.
    const { body } = await queue.look('a1');
    await queue.configure({ paused: true });
    await queue.release('a1', body.fencing_token, { outcome: 'retry', retry_after_ms: 0 });
    expect(await queue.line()).toEqual(['a1', 'a2', 'a3', 'b1', 'b2']);
  }
});

test('batch_rank orders a batch, whoever of it comes first; equal ranks as they came', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q']);
  const queue = onQueue(db, 'q');
  await queue.hold('holder');
  await queue.acquire('c', { batch: 'a', batch_rank: 3 });
  await queue.acquire('behind');
  await queue.acquire('b', { batch: 'a', batch_rank: 2 });
  await queue.acquire('b too', { batch: 'a', batch_rank: 2 });
  await queue.acquire('a', { batch: 'a', batch_rank: 1 });
  await queue.acquire('first', { batch: 'a' });
  expect(await queue.line()).toEqual(['first', 'a', 'b', 'b too', 'c', 'behind']);
});

test('a batch has the priority, or the time, of its first claim', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q']);
  const queue = onQueue(db, 'q');
  await queue.hold('holder');
  await queue.acquire('high', { priority: 1 });
  await queue.acquire('low', { priority: 0, batch: 'a' });
  await queue.acquire('urgent, of the batch', { priority: 9, batch: 'a' });
  expect(await queue.line()).toEqual(['high', 'low', 'urgent, of the batch']);
  await queue.configure({ priority_head_start_ms: 1000 });
  await queue.acquire('aged', { priority: 5, batch: 'b' });
  await queue.acquire('newer, of more priority', { priority: 6 });
  await queue.acquire('with the aged', { batch: 'b' });
  expect(await queue.line()).toEqual([
    ...['high', 'low', 'urgent, of the batch'],
    ...['newer, of more priority', 'aged', 'with the aged'],
  ]);
});

test('batches of runs: enqueued over HTTP, by SQL, and behind what waits in the inbox', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q'], { concurrency_limit: 1 });
  await decide(db, [
    enqueueItem('q', 'a2', { batch: 'a', batch_rank: 2 }),
    enqueueItem('q', 'b1', { batch: 'b' }),
    enqueueItem('q', 'a3', { batch: 'a', batch_rank: 3 }),
  ]);
  await enqueueBySql(db, 'q', 'a1', { batch: 'a', batch_rank: 1 });
  await enqueueBySql(db, 'q', 'alone');
  await enqueueBySql(db, 'q', 'b2', { batch: 'b' });
  expect(await work(db, 'q')).toEqual(['a1', 'a2', 'a3', 'b1', 'b2', 'alone']);

  // More than one call moves: what is enqueued now goes behind it, into the inbox, with its batch.
  await db.query(`select signalbox_v1.enqueue('q', 'many.' || n) from generate_series(1, 100) n`);
  await enqueueBySql(db, 'q', 'c1', { batch: 'c' });
  await enqueueBySql(db, 'q', 'last');
  await onQueue(db, 'q').enqueue('c2', { batch: 'c' });
  expect(await rowsOf(db, 'select claim_id, batch from signalbox.inbox order by id')).toEqual([
    { claim_id: 'c1', batch: 'c' },
    { claim_id: 'last', batch: null },
    { claim_id: 'c2', batch: 'c' },
  ]);
  expect((await work(db, 'q')).slice(100)).toEqual(['c1', 'c2', 'last']);
});

test('a batch of runs and one of claims that have the same name are two, and so are those of two queues', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q', 'other']);
  await onQueue(db, 'q').enqueue('run', { batch: 'a' });
  await onQueue(db, 'q').hold('holder');
  await onQueue(db, 'q').acquire('claim', { batch: 'a' });
  await onQueue(db, 'other').enqueue('run', { batch: 'a' });
  const { size } = await oneOf<{ size: string }>(db, 'select max(size) as size from signalbox.batches');
  expect(Number(size)).toBe(1);
});

test('a run of a batch that is delayed stands with the others once it is due', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q']);
  const queue = onQueue(db, 'q');
  await queue.enqueue('a1', { batch: 'a' });
  await queue.enqueue('b1', { batch: 'b' });
  await queue.enqueue('a2', { batch: 'a', delay_ms: 60_000 });
  expect(await queue.line('run')).toEqual(['a1', 'b1']);
  await db.query(`update signalbox.delayed set due_at = signalbox.clock()`);
  await db.query(`update signalbox.lines set next_due_at = signalbox.clock()`);
  await queue.advance();
  expect(await queue.line('run')).toEqual(['a1', 'a2', 'b1']);
});
