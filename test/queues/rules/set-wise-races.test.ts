import { expect, test } from 'vitest';
import { openRacer, sqlStateOf, waitPatiently } from '../../support/blocked.ts';
import { moveClock } from '../../support/database-clock.ts';
import { freshDatabase, type TestDatabase } from '../../support/database.ts';
import { expectSoundQueues } from '../../support/sound-queues.ts';
import {
  acquireItem,
  type Answer,
  decide,
  makeQueues,
  oneOf,
  onQueue,
  releaseItem,
  rowsOf,
} from '../../support/sql-verbs.ts';

/** A queue whose first slots are free rows, as grants of a whole batch need them. */
async function usedQueue(db: TestDatabase, name: string, slots: number): Promise<void> {
  await makeQueues(db, [name], { concurrency_limit: slots });
  const names = Array.from({ length: slots }, (_, index) => `used ${index}`);
  const tokens = await onQueue(db, name).hold(...names);
  await decide(
    db,
    names.map((claim, index) => releaseItem(name, claim, tokens[index] ?? 0)),
  );
}

const codes = (answers: readonly Answer[]) =>
  answers.toSorted((a, b) => (a.item ?? 99) - (b.item ?? 99)).map(({ item, code }) => [item, code]);

test('a batch grants a free slot while a renewal of another slot of the queue is not committed', async () => {
  await using db = await freshDatabase();
  await usedQueue(db, 'q', 2);
  const [token = 0] = await onQueue(db, 'q').hold('a');
  const renewer = await openRacer(db);

  await renewer.client.query('begin');
  expect((await onQueue(renewer.client, 'q').renew('a', token)).code).toBe('renewed');
  expect(await onQueue(db, 'q').acquire('b')).toMatchObject({ code: 'held', body: { slot: 2 } });
  expect((await onQueue(db, 'q').acquire('c')).code).toBe('waiting');
  await renewer.client.query('commit');
  expect(await onQueue(db, 'q').held()).toEqual(['a', 'b']);
  await expectSoundQueues(db);
});

test('a lease that ran out while its renewal is not committed is counted as held by the grants of a batch', async () => {
  await using db = await freshDatabase();
  await usedQueue(db, 'q', 2);
  await usedQueue(db, 'r', 1);
  const [token = 0] = await onQueue(db, 'q').hold('a');
  await moveClock(db, 31_000);
  const renewer = await openRacer(db);

  await renewer.client.query('begin');
  await onQueue(renewer.client, 'q').renew('a', token);
  const answers = await decide(db, [acquireItem('q', 'b'), acquireItem('r', 'b'), acquireItem('q', 'c')]);
  expect(codes(answers)).toEqual([
    [0, 'held'],
    [1, 'held'],
    [2, 'waiting'],
  ]);
  await renewer.client.query('commit');
  expect([await onQueue(db, 'q').held(), await onQueue(db, 'q').line()]).toEqual([['a', 'b'], ['c']]);
  await expectSoundQueues(db);
});

const holdsLine = {
  advance: (on) => onQueue(on, 'q').advance(),
  'a configure that lowers the limit': (on) => onQueue(on, 'q').configure({ concurrency_limit: 1 }),
  'a configure that makes it wide': (on) => onQueue(on, 'q').configure({ concurrency_limit: null }),
  'a configure that pauses it': (on) => onQueue(on, 'q').configure({ paused: true }),
  'a delete': (on) => onQueue(on, 'q').delete({ force: true }),
} satisfies Record<string, (on: Parameters<typeof onQueue>[0]) => Promise<unknown>>;

test.each([
  { first: 'advance', code: 'held' },
  { first: 'a configure that lowers the limit', code: 'waiting' },
  { first: 'a configure that makes it wide', code: 'held' },
  { first: 'a configure that pauses it', code: 'waiting' },
  { first: 'a delete', code: 'queue_not_found' },
] as const)('a batch that waits for $first decides on what it left: $code', async ({ first, code }) => {
  await using db = await freshDatabase();
  await waitPatiently(db);
  await usedQueue(db, 'q', 2);
  await usedQueue(db, 'r', 1);
  await onQueue(db, 'q').hold('a');
  const [keeper, batch] = [await openRacer(db), await openRacer(db)];

  await keeper.client.query('begin');
  await holdsLine[first](keeper.client);
  const decided = decide(batch.client, [acquireItem('q', 'b'), acquireItem('r', 'b')], { wait: true });
  await batch.isBlocked();
  await keeper.client.query('commit');

  expect(codes(await decided)).toEqual([
    [0, code],
    [1, 'held'],
  ]);
  await expectSoundQueues(db);
});

test.each([
  { what: 'lowers the limit', settings: { concurrency_limit: 1 }, held: ['a', 'b'], free: 0 },
  { what: 'makes it wide', settings: { concurrency_limit: null }, held: ['a', 'b'], free: 1 },
])('a configure that $what and waits for a batch counts what the batch granted', async ({ settings, held, free }) => {
  await using db = await freshDatabase();
  await waitPatiently(db);
  await usedQueue(db, 'q', 3);
  await onQueue(db, 'q').hold('a');
  const [batch, changer] = [await openRacer(db), await openRacer(db)];

  await batch.client.query('begin');
  expect((await onQueue(batch.client, 'q').acquire('b')).code).toBe('held');
  const changed = onQueue(changer.client, 'q').configure(settings);
  await changer.isBlocked();
  await batch.client.query('commit');
  await changed;

  expect(await onQueue(db, 'q').held()).toEqual(held);
  expect((await onQueue(db, 'q').acquire('c')).code).toBe(free > 0 ? 'held' : 'waiting');
  await expectSoundQueues(db);
});

test('a delete that waits for a batch finds the holder it granted, and is refused', async () => {
  await using db = await freshDatabase();
  await waitPatiently(db);
  await usedQueue(db, 'q', 1);
  const [batch, remover] = [await openRacer(db), await openRacer(db)];
  await batch.client.query('begin');
  await onQueue(batch.client, 'q').acquire('b');
  const removed = onQueue(remover.client, 'q').delete();
  await remover.isBlocked();
  await batch.client.query('commit');
  expect((await removed).map(({ code }) => code)).toEqual(['queue_in_use']);
  expect(await onQueue(db, 'q').held()).toEqual(['b']);
});

test.each([true, false])(
  'two connections with overlapping batches in opposite orders neither deadlock nor admit too many (waiting: %s)',
  async (wait) => {
    await using db = await freshDatabase();
    const names = Array.from({ length: 10 }, (_, index) => `q${index}`);
    for (const name of names) await usedQueue(db, name, 1 + (Number(name.slice(1)) % 2));
    const racers = [await openRacer(db), await openRacer(db), await openRacer(db)];
    const held: { queue: string; claim: string; token: number }[] = [];
    for (let round = 0; round < 30; round++) {
      const orders = [names, names.toReversed(), names.toSorted(() => (round % 2) - 0.5)];
      const mine = held.splice(0);
      const results = await Promise.all(
        racers.map(({ client }, index) => {
          const acquires = (orders[index] ?? names).map((name) =>
            acquireItem(name, `${round} ${index}`, { mode: 'skip_if_busy' }),
          );
          const releases = mine
            .filter((_, at) => at % racers.length === index)
            .map(({ queue, claim, token }) => releaseItem(queue, claim, token));
          return decide(client, [...acquires, ...releases], { wait });
        }),
      );
      for (const { code, queue, claim_id: claim, body } of results.flat())
        if (code === 'held') held.push({ queue, claim: claim ?? '', token: body.fencing_token });
      for (const [index, answers] of results.entries())
        for (const { code, item, queue } of answers) {
          // Whoever released in vain because the line was busy keeps it for the next round.
          const kept = mine.filter((_, at) => at % racers.length === index)[(item ?? 0) - names.length];
          if (code === 'line_busy' && kept?.queue === queue) held.push(kept);
        }
      const crowded = await rowsOf(
        db,
        `select n.queue, count(*) from signalbox.lines n join signalbox.leases l using (queue)
         where l.state = 'held' group by 1, n.concurrency_limit having count(*) > n.concurrency_limit`,
      );
      expect(crowded).toEqual([]);
    }
    const { granted } = await oneOf<{ granted: number }>(
      db,
      `select count(*)::int as granted from signalbox.events where type = 'lease.granted'`,
    );
    expect(granted).toBeGreaterThan(60);
    await expectSoundQueues(db);
  },
);

test('a batch that cannot have one lease row in time fails with 55P03 and has done nothing at all', async () => {
  await using db = await freshDatabase();
  for (const name of ['a', 'b', 'c']) await usedQueue(db, name, 1);
  const [tokenA = 0] = await onQueue(db, 'a').hold('x');
  const [tokenB = 0] = await onQueue(db, 'b').hold('x');
  const renewer = await openRacer(db);
  const before = await rowsOf(db, 'select * from signalbox.leases order by queue');
  const items = [
    releaseItem('a', 'x', tokenA),
    releaseItem('b', 'x', tokenB),
    acquireItem('a', 'y'),
    acquireItem('c', 'y'),
  ];

  await renewer.client.query('begin');
  await onQueue(renewer.client, 'b').renew('x', tokenB);
  expect(await sqlStateOf(decide(db, items))).toBe('55P03');
  await renewer.client.query('rollback');
  expect(await rowsOf(db, 'select * from signalbox.leases order by queue')).toEqual(before);
  await expectSoundQueues(db);

  expect(codes(await decide(db, items))).toEqual([
    [0, 'released'],
    [1, 'released'],
    [2, 'held'],
    [3, 'held'],
  ]);
});

test('renewals that name leases in one order and releases that name them in the other do not deadlock', async () => {
  await using db = await freshDatabase();
  await waitPatiently(db);
  const tokens = new Map<string, number>();
  for (const name of ['a', 'b']) {
    await makeQueues(db, [name]);
    tokens.set(name, (await onQueue(db, name).hold('x'))[0] ?? 0);
  }
  const [keeper, renewer, releaser] = [await openRacer(db), await openRacer(db), await openRacer(db)];

  await keeper.client.query('begin');
  await keeper.client.query(`select from signalbox.leases where queue = 'a' for no key update`);
  const items = ['a', 'b'].map((queue) => ({ queue, claim_id: 'x', fencing_token: tokens.get(queue) }));
  const renewed = rowsOf<Answer>(renewer.client, 'select * from signalbox_v1.renew($1)', [JSON.stringify(items)]);
  await renewer.isBlocked();
  // Had it b before a, it would now wait for the renewals, and they for it.
  const released = decide(
    releaser.client,
    ['b', 'a'].map((queue) => releaseItem(queue, 'x', tokens.get(queue) ?? 0)),
  );
  await releaser.isBlocked();
  await keeper.client.query('commit');

  expect((await renewed).map(({ code }) => code)).toEqual(['renewed', 'renewed']);
  expect(codes(await released)).toEqual([
    [0, 'released'],
    [1, 'released'],
  ]);
});

test('in one batch an ending comes before an acquire of the same claim, whichever way each is decided', async () => {
  await using db = await freshDatabase();
  await usedQueue(db, 'q', 3);
  const answers = await decide(db, [
    acquireItem('q', 'new'),
    { op: 'break', queue: 'q', claim_id: 'new', reason: 'test', actor: 'tester' },
  ]);
  expect(codes(answers)).toEqual([
    [0, 'held'],
    [1, 'claim_not_found'],
  ]);
  expect(await onQueue(db, 'q').held()).toEqual(['new']);
  expect(codes(await decide(db, [releaseItem('q', 'next', 5), acquireItem('q', 'next')]))).toEqual([
    [0, 'claim_not_found'],
    [1, 'held'],
  ]);
});

test('a claim that a batch cancels is not granted the place that the same batch releases', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q']);
  const queue = onQueue(db, 'q');
  const [token = 0] = await queue.hold('holder');
  await queue.acquire('given up');
  await queue.acquire('next');
  const answers = await decide(db, [
    { op: 'cancel', queue: 'q', claim_id: 'given up' },
    releaseItem('q', 'holder', token),
  ]);
  expect(codes(answers)).toEqual([
    [0, 'cancelled'],
    [1, 'released'],
    [null, 'held'],
  ]);
  expect(await queue.held()).toEqual(['next']);
  await expectSoundQueues(db);
});
