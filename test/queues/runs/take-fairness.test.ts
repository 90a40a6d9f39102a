import { expect, test } from 'vitest';
import { freshDatabase, type TestDatabase } from '../../support/database.ts';
import { expectSoundQueues } from '../../support/sound-queues.ts';
import { decide, enqueueItem, makeQueues, onQueue, rowsOf, take } from '../../support/sql-verbs.ts';

const numbers = (count: number) => Array.from({ length: count }, (_, index) => index);

async function fillQueues(db: TestDatabase, queues: readonly string[], each: number): Promise<void> {
  for (const queue of queues)
    await decide(
      db,
      numbers(each).map((index) => enqueueItem(queue, `${queue}.${index}`)),
    );
}

test('the queue that has waited longest is served first, and a served one goes to the back', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['c', 'a', 'b'], { concurrency_limit: 9 });
  await fillQueues(db, ['c', 'a', 'b'], 2);
  const ids = [];
  for (let index = 0; index < 6; index++) ids.push(...(await take(db, { prefix: '' })).ids);
  expect(ids).toEqual(['c.0', 'a.0', 'b.0', 'c.1', 'a.1', 'b.1']);
});

test('one take gives each ready queue its share, and what some leave to the others', async () => {
  await using db = await freshDatabase();
  const queues = numbers(10).map((index) => `q${index}`);
  await makeQueues(db, queues, { concurrency_limit: 9 });
  await fillQueues(db, queues, 3);
  const share = async (max: number) => {
    const { claims } = await take(db, { prefix: '', max });
    return queues.map((queue) => claims.filter((claim) => claim.queue === queue).length);
  };
  expect(await share(20)).toEqual(numbers(10).map(() => 2));
  expect(await share(20)).toEqual(numbers(10).map(() => 1));
});

test('what the limits of some queues leave goes to others in the same take', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['narrow.1', 'narrow.2']);
  await makeQueues(db, ['wide'], { concurrency_limit: null });
  await fillQueues(db, ['narrow.1', 'narrow.2', 'wide'], 20);
  const { claims, more } = await take(db, { prefix: '', max: 12 });
  expect(claims.filter(({ queue }) => queue === 'wide')).toHaveLength(10);
  expect([claims.length, more]).toEqual([12, true]);
});

test('a tenant with 5,000 runs never starves 100 small ones', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['busy'], { concurrency_limit: null });
  for (const page of numbers(5))
    await decide(
      db,
      numbers(1000).map((index) => enqueueItem('busy', `busy.${page}.${index}`)),
    );
  const small = numbers(100).map((index) => `small.${index}`);
  await makeQueues(db, small, { concurrency_limit: null });
  await fillQueues(db, small, 1);
  const served = new Set<string>();
  let calls = 0;
  let taken = 0;
  while (small.some((queue) => !served.has(queue))) {
    const { claims } = await take(db, { prefix: '', max: 20 });
    for (const { queue } of claims) served.add(queue);
    taken += claims.length;
    expect(++calls).toBeLessThan(12);
  }
  expect(taken).toBeLessThan(240);
}, 60_000);

test('a prefix takes from the names that begin with it, and from no other', async () => {
  await using db = await freshDatabase();
  const queues = ['a', 'a/b', 'aa', 'ab', 'b', 'Z', 'z', 'zz', 'z-', '@'];
  await makeQueues(db, queues, { concurrency_limit: 9 });
  for (const [prefix, expected] of [
    ['a', ['a', 'a/b', 'aa', 'ab']],
    ['a/', ['a/b']],
    ['ab', ['ab']],
    ['abc', []],
    ['b', ['b']],
    ['z', ['z', 'z-', 'zz']],
    ['zz', ['zz']],
    ['Z', ['Z']],
    ['', queues],
  ] as const) {
    await fillQueues(db, queues, 1);
    const { claims } = await take(db, { prefix, max: 20 });
    const names = [...new Set(claims.map(({ queue }) => queue))];
    expect([prefix, names.toSorted()]).toEqual([prefix, [...expected].toSorted()]);
    await decide(
      db,
      (
        await rowsOf<{ queue: string; claim_id: string }>(
          db,
          `select queue, claim_id from signalbox.leases where state = 'held'
         union all select queue, claim_id from signalbox.waiting`,
        )
      ).map((claim) => ({ op: 'break', ...claim })),
    );
    await db.query('truncate signalbox.history');
  }
});

test.each(['a/', 'a'])('prefix %s finds its queues behind more than 256 ready ones of others', async (prefix) => {
  await using db = await freshDatabase();
  const others = numbers(300).map((index) => `other.${index}`);
  await makeQueues(db, others);
  await decide(
    db,
    others.map((queue) => enqueueItem(queue, 'x')),
  );
  await makeQueues(db, ['a/1', 'a/2', 'a/3']);
  await fillQueues(db, ['a/3', 'a/1', 'a/2'], 1);
  expect((await take(db, { prefix })).ids).toEqual(['a/3.0']);
  expect((await take(db, { prefix, max: 9 })).ids).toEqual(['a/1.0', 'a/2.0']);
  expect((await take(db, { prefix, max: 9 })).ids).toEqual([]);
});

test('one take serves at most 48 queues, says that there are more, and in the end every queue has been served', async () => {
  await using db = await freshDatabase();
  const queues = numbers(150).map((index) => `q${index}`);
  await makeQueues(db, queues);
  await decide(
    db,
    queues.map((queue) => enqueueItem(queue, 'x')),
  );
  const first = await take(db, { prefix: '', max: 1000 });
  expect([first.ids.length, first.more]).toEqual([48, true]);
  expect((await take(db, { prefix: '', max: 1000 })).ids).toHaveLength(48);
  expect((await take(db, { prefix: '', max: 1000 })).ids).toHaveLength(48);
  const last = await take(db, { prefix: '', max: 1000 });
  expect([last.ids.length, last.more]).toEqual([6, false]);
  await expectSoundQueues(db);
});

test('a queue that has nothing to give leaves the ready ones when somebody takes, and comes back when it has', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q']);
  const ready = () => rowsOf(db, 'select queue from signalbox.ready_queues');
  await onQueue(db, 'q').enqueue('a');
  await onQueue(db, 'q').enqueue('b');
  expect(await ready()).toHaveLength(1);
  const { claims } = await take(db, { prefix: '' });
  expect(await ready()).toHaveLength(0);
  expect((await onQueue(db, 'q').release('a', claims[0]?.body.fencing_token ?? 0)).code).toBe('released');
  expect(await ready()).toHaveLength(1);
});
