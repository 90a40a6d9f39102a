import { expect, test } from 'vitest';
import { openRacer, waitPatiently } from '../../support/blocked.ts';
import { freshDatabase, type TestDatabase } from '../../support/database.ts';
import { acquireItem, decide, makeQueues, onQueue, releaseItem, rowsOf } from '../../support/sql-verbs.ts';
import { openDesk } from '../../support/decision-desk.ts';

const others = Array.from({ length: 20 }, (_, index) => `q${index}`);

async function lockLine(db: TestDatabase, queue: string) {
  const racer = await openRacer(db);
  await racer.client.query('begin');
  await racer.client.query('select from signalbox.lines where queue = $1 for no key update', [queue]);
  return racer;
}

test('a batch over a locked line and 20 others answers the others and says line_busy for that one', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['stuck', ...others]);
  await lockLine(db, 'stuck');
  const answers = await decide(db, [
    ...others.slice(0, 10).map((queue) => acquireItem(queue, 'a')),
    acquireItem('stuck', 'a'),
    ...others.slice(10).map((queue) => acquireItem(queue, 'a')),
  ]);
  expect(answers).toHaveLength(21);
  expect(answers.filter(({ code }) => code === 'line_busy').map(({ item, queue }) => [item, queue])).toEqual([
    [10, 'stuck'],
  ]);
  expect(answers.filter(({ code }) => code === 'held')).toHaveLength(20);
});

test('every kind of operation on a locked line is line_busy, and does nothing', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['stuck']);
  const queue = onQueue(db, 'stuck');
  const [token = 0] = await queue.hold('a');
  await lockLine(db, 'stuck');
  expect((await queue.acquire('b')).code).toBe('line_busy');
  expect((await queue.release('a', token)).code).toBe('line_busy');
  expect((await queue.cancel('a')).code).toBe('line_busy');
  expect((await queue.break('a')).code).toBe('line_busy');
  expect([await queue.held(), await queue.line()]).toEqual([['a'], []]);
});

test('the desk answers other queues at once, and the stuck one when its lock goes; renewals pass meanwhile', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['stuck', ...others]);
  const [token = 0] = await onQueue(db, 'stuck').hold('holder');
  await using desk = openDesk(db, { lineWaitMs: 20_000 });
  const keeper = await lockLine(db, 'stuck');

  let stuckIsAnswered = false;
  const stuck = desk.acquire('stuck', 'a').finally(() => (stuckIsAnswered = true));
  const answered = await Promise.all(others.map((queue) => desk.acquire(queue, 'a')));
  expect(answered.map(({ decision }) => decision.code)).toEqual(others.map(() => 'held'));
  const again = await Promise.all(others.map((queue) => desk.acquire(queue, 'b')));
  expect(again.map(({ decision }) => decision.code)).toEqual(others.map(() => 'waiting'));
  expect((await onQueue(db, 'stuck').renew('holder', token)).code).toBe('renewed');
  expect(stuckIsAnswered).toBe(false);

  await keeper.client.query('commit');
  expect((await stuck).decision.code).toBe('waiting');
});

test('an operation on a queue that stays stuck is refused as overloaded at its deadline, and was not done', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['stuck']);
  await using desk = openDesk(db, { lineWaitMs: 300 });
  const keeper = await lockLine(db, 'stuck');
  await expect(desk.acquire('stuck', 'a')).rejects.toMatchObject({ code: 'overloaded' });
  await keeper.client.query('commit');
  expect([await onQueue(db, 'stuck').held(), await onQueue(db, 'stuck').line()]).toEqual([[], []]);
});

test('a lock timeout in a batch makes the desk try its items singly, and the neighbours are unharmed', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['a', 'b', 'c']);
  const [token = 0] = await onQueue(db, 'a').hold('holder');
  await using desk = openDesk(db, { lineWaitMs: 20_000 });
  const keeper = await openRacer(db);
  await keeper.client.query('begin');
  await keeper.client.query('select from signalbox.leases for no key update');

  let isReleased = false;
  const released = desk.decide(releaseItem('a', 'holder', token)).finally(() => (isReleased = true));
  const neighbours = await Promise.all([desk.acquire('b', 'x'), desk.acquire('c', 'x')]);
  expect(neighbours.map(({ decision }) => decision.code)).toEqual(['held', 'held']);
  expect(isReleased).toBe(false);
  await keeper.client.query('commit');
  expect((await released).decision.code).toBe('released');
});

test('a deadlock in a batch makes the desk try its items singly, and the neighbours are unharmed', async () => {
  await using db = await freshDatabase();
  await waitPatiently(db);
  await makeQueues(db, ['a', 'b', 'c']);
  const [token = 0] = await onQueue(db, 'a').hold('holder');
  await using desk = openDesk(db, { lineWaitMs: 20_000 });
  const keeper = await openRacer(db);
  // The other one is to be the victim: it looks for deadlocks after a second.
  await keeper.client.query(`set deadlock_timeout = '20s'`);
  await keeper.client.query('begin');
  await keeper.client.query('select from signalbox.leases for no key update');

  const released = desk.decide(releaseItem('a', 'holder', token));
  const neighbours = Promise.all([desk.acquire('b', 'x'), desk.acquire('c', 'x')]);
  await desk.isBlocked();
  // The lease first, then its line: the wrong order, as only somebody outside our functions would take them.
  await keeper.client.query(`select from signalbox.lines where queue = 'a' for no key update`);
  expect((await neighbours).map(({ decision }) => decision.code)).toEqual(['held', 'held']);
  await keeper.client.query('commit');
  expect((await released).decision.code).toBe('released');
});

test('a bad item of a batch is a code, and the other items are decided', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q']);
  const answers = await decide(db, [
    { op: 'explode', queue: 'q', claim_id: 'x' },
    acquireItem('nowhere', 'x'),
    releaseItem('q', 'stranger', 1),
    acquireItem('q', 'a', { ttl_ms: 86_400_000 }),
    acquireItem('q', 'a'),
  ]);
  const codes = answers.toSorted((a, b) => (a.item ?? 0) - (b.item ?? 0)).map(({ code }) => code);
  expect(codes).toEqual(['unknown_operation', 'queue_not_found', 'claim_not_found', 'ttl_too_long', 'held']);
});

test('a queue that does not exist is made by a call of its own and then decided', async () => {
  await using db = await freshDatabase();
  await using desk = openDesk(db, { lineWaitMs: 20_000 });
  const answers = await Promise.all(['x', 'y', 'x'].map((queue, index) => desk.acquire(queue, `${index}`)));
  expect(answers.map(({ decision }) => decision.code).sort()).toEqual(['held', 'held', 'waiting']);
  expect(await rowsOf(db, 'select queue, auto_created from signalbox.queues order by 1')).toEqual([
    { queue: 'x', auto_created: true },
    { queue: 'y', auto_created: true },
  ]);
});
