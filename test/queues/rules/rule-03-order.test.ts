import { expect, test } from 'vitest';
import { openRacer, waitPatiently } from '../../support/blocked.ts';
import { freshDatabase } from '../../support/database.ts';
import { acquireItem, decide, makeQueues, onQueue, rowsOf } from '../../support/sql-verbs.ts';

test('the order of a line is the order of decisions under its lock, not of calls begun', async () => {
  await using db = await freshDatabase();
  await waitPatiently(db);
  await makeQueues(db, ['q']);
  await onQueue(db, 'q').hold('holder');
  const [early, late] = [await openRacer(db), await openRacer(db)];

  // `early` began its transaction, and drew its transaction id, before `late` decided.
  await early.client.query('begin');
  await early.client.query('select pg_current_xact_id()');
  await late.client.query('begin');
  await onQueue(late.client, 'q').acquire('decided first');
  const waited = onQueue(early.client, 'q').acquire('began first', { wait: true });
  await early.isBlocked();
  await late.client.query('commit');
  await waited;
  await early.client.query('commit');

  expect(await onQueue(db, 'q').line()).toEqual(['decided first', 'began first']);
});

test('a place given up by a rollback is not given to two claims', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q']);
  await onQueue(db, 'q').hold('holder');
  const { client } = await openRacer(db);
  await client.query('begin');
  await onQueue(client, 'q').acquire('never');
  await client.query('rollback');
  await onQueue(db, 'q').acquire('first');
  await onQueue(db, 'q').acquire('second');

  expect(await onQueue(db, 'q').line()).toEqual(['first', 'second']);
  expect(await rowsOf(db, 'select waiting from signalbox.lines')).toEqual([{ waiting: 2 }]);
});

test('higher priority goes first, equal priority in the order of asking', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q']);
  const queue = onQueue(db, 'q');
  let [token = 0] = await queue.hold('holder');
  await queue.acquire('low', { priority: -1 });
  await queue.acquire('first', { priority: 0 });
  await queue.acquire('high', { priority: 5 });
  await queue.acquire('second', { priority: 0 });

  const served: string[] = [];
  for (let last = 'holder'; ;) {
    await queue.release(last, token);
    const [next] = await queue.held();
    if (next === undefined) break;
    served.push(next);
    last = next;
    token = (await queue.look(next)).body.fencing_token;
  }
  expect(served).toEqual(['high', 'first', 'second', 'low']);
});

test('acquires of one batch line up in the order given, also between two of another queue', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['a', 'b']);
  await onQueue(db, 'a').hold('holder');
  await onQueue(db, 'b').hold('holder');
  const items = [
    acquireItem('b', '1'),
    acquireItem('a', '1'),
    acquireItem('b', '2'),
    acquireItem('a', '2'),
    acquireItem('b', '3'),
  ];
  const answers = await decide(db, items);
  expect(answers.map(({ item }) => item).sort()).toEqual([0, 1, 2, 3, 4]);
  expect(await onQueue(db, 'a').line()).toEqual(['1', '2']);
  expect(await onQueue(db, 'b').line()).toEqual(['1', '2', '3']);
});

test('in one batch a release comes before an acquire, and the line before the newcomer', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q']);
  const queue = onQueue(db, 'q');
  const [token] = await queue.hold('a');
  await queue.acquire('b');
  const answers = await decide(db, [
    acquireItem('q', 'c'),
    { op: 'release', queue: 'q', claim_id: 'a', fencing_token: token },
  ]);
  expect(answers.map(({ item, code, claim_id }) => [item, code, claim_id])).toEqual([
    [1, 'released', 'a'],
    [null, 'held', 'b'],
    [0, 'waiting', 'c'],
  ]);
});
