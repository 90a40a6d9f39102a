import type pg from 'pg';
import { expect, test } from 'vitest';
import { failureKind } from '../../../src/store/failures.ts';
import { openRacer, sqlStateOf, waitPatiently } from '../../support/blocked.ts';
import { moveClock } from '../../support/database-clock.ts';
import { freshDatabase, type TestDatabase } from '../../support/database.ts';
import { expectSoundQueues } from '../../support/sound-queues.ts';
import {
  decide,
  enqueueBySql,
  enqueueItem,
  makeQueues,
  oneOf,
  onQueue,
  releaseItem,
  rowsOf,
  take,
  takeAll,
  takeExactly,
} from '../../support/sql-verbs.ts';

test('two calls that take from the same queues in opposite orders do not deadlock', async () => {
  await using db = await freshDatabase();
  await waitPatiently(db);
  await makeQueues(db, ['a', 'b']);
  for (const queue of ['a', 'b']) await onQueue(db, queue).enqueue(queue);
  const [first, second] = [await openRacer(db), await openRacer(db)];
  await first.client.query('begin');
  await second.client.query('begin');
  expect((await take(first.client, { queue: 'a' })).ids).toEqual(['a']);
  expect((await take(second.client, { queue: 'b' })).ids).toEqual(['b']);
  expect(await take(first.client, { queue: 'b' })).toMatchObject({ ids: [], busy: true });
  expect(await take(second.client, { queue: 'a' })).toMatchObject({ ids: [], busy: true });
  await first.client.query('commit');
  await second.client.query('commit');
  await expectSoundQueues(db);
});

test('two takes that each hold the line whose ready row the other has locked do not wait for each other', async () => {
  await using db = await freshDatabase();
  await waitPatiently(db);
  await makeQueues(db, ['x', 'y'], { concurrency_limit: 9 });
  for (const queue of ['x', 'y']) await onQueue(db, queue).enqueue(queue);
  const [first, second] = [await openRacer(db), await openRacer(db)];
  for (const [{ client }, own, other] of [
    [first, 'x', 'y'],
    [second, 'y', 'x'],
  ] as const) {
    await client.query('begin');
    await client.query('select from signalbox.lines where queue = $1 for no key update', [own]);
    await client.query('select from signalbox.ready_queues where queue = $1 for update', [other]);
  }
  expect((await take(first.client, { queue: 'x' })).ids).toEqual(['x']);
  expect((await take(second.client, { queue: 'y' })).ids).toEqual(['y']);
  await first.client.query('commit');
  await second.client.query('commit');
  await expectSoundQueues(db);
});

test('a batch that moves a delayed claim into its line does not wait for a poll of that claim', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q']);
  const queue = onQueue(db, 'q');
  const [token = 0] = await queue.hold('a');
  await queue.release('a', token, { outcome: 'retry', retry_after_ms: 10_000 });
  const poll = await openRacer(db);
  await poll.client.query('begin');
  await queue.hear(['a'], 1000);
  expect((await poll.client.query('select from signalbox.heard for no key update')).rowCount).toBe(1);
  await moveClock(db, 10_100);
  await queue.advance();
  expect(await queue.held()).toEqual(['a']);
  await poll.client.query('commit');
});

test('an enqueue that waited for the take that emptied its queue leaves the queue ready', async () => {
  await using db = await freshDatabase();
  await waitPatiently(db);
  await makeQueues(db, ['q'], { concurrency_limit: 2 });
  await onQueue(db, 'q').enqueue('a');
  const [taker, other] = [await openRacer(db), await openRacer(db)];
  await taker.client.query('begin');
  expect((await take(taker.client, { prefix: '', max: 2 })).ids).toEqual(['a']);
  const enqueued = onQueue(other.client, 'q').enqueue('b', { wait: true });
  await other.isBlocked();
  await taker.client.query('commit');
  expect((await enqueued).code).toBe('queued');
  expect((await take(db, { prefix: '' })).ids).toEqual(['b']);
});

test('a take beside a release that is not committed finds nothing, and after it the run at its old place', async () => {
  await using db = await freshDatabase();
  await waitPatiently(db);
  await makeQueues(db, ['q']);
  const queue = onQueue(db, 'q');
  await queue.enqueue('a');
  const [token = 0] = await takeExactly(db, 'q', 'a');
  const [releaser, taker] = [await openRacer(db), await openRacer(db)];
  await releaser.client.query('begin');
  await onQueue(releaser.client, 'q').release('a', token, { outcome: 'retry', retry_after_ms: 0 });
  // Whether there is anything to give is asked without a lock: this one does not even wait.
  expect((await take(taker.client, { queue: 'q' }, { wait: true })).ids).toEqual([]);
  await releaser.client.query('commit');
  await queue.enqueue('b');
  await takeExactly(db, 'q', 'a');
  await expectSoundQueues(db);
});

test('two workers that release the same grant at the same time: one is told released, one not_released', async () => {
  await using db = await freshDatabase();
  await waitPatiently(db);
  await makeQueues(db, ['q']);
  await onQueue(db, 'q').enqueue('a');
  const [token = 0] = await takeExactly(db, 'q', 'a');
  const [first, second] = [await openRacer(db), await openRacer(db)];
  await first.client.query('begin');
  const retried = await onQueue(first.client, 'q').release('a', token, { outcome: 'retry', retry_after_ms: 0 });
  const waited = onQueue(second.client, 'q').release('a', token, { outcome: 'success', wait: true });
  await second.isBlocked();
  await first.client.query('commit');
  expect([retried.body.state, (await waited).code]).toEqual(['waiting', 'not_released']);
  await takeExactly(db, 'q', 'a');
  await expectSoundQueues(db);
});

/** Deadlocks are remembered; a lock that was not to be had in time is tried for again. */
async function insist<T>(work: () => Promise<T>, deadlocks: unknown[]): Promise<T> {
  for (;;) {
    try {
      return await work();
    } catch (error) {
      if (failureKind(error) !== 'contended') throw error;
      if ((error as { code?: string }).code === '40P01') deadlocks.push(error);
    }
  }
}

/** Until no line is busy. */
async function decideAll(client: pg.Client, items: readonly object[]): Promise<void> {
  for (let left = items; left.length > 0;) {
    const answers = await decide(client, left);
    left = left.filter((_, index) => answers.some(({ item, code }) => item === index && code === 'line_busy'));
  }
}

test('takes, releases, enqueues, acquires and renewals of the same queues at the same time never deadlock', async () => {
  await using db = await freshDatabase();
  const queues = Array.from({ length: 6 }, (_, index) => `q${index}`);
  await makeQueues(db, queues, { concurrency_limit: 3, max_attempts: 1000 });
  const endsAt = performance.now() + 6000;
  const isOver = () => performance.now() > endsAt;
  const deadlocks: unknown[] = [];
  let number = 0;
  const work = async (client: pg.Client, holder: string, turn: number) => {
    const order = turn % 2 === 0 ? queues : queues.toReversed();
    while (!isOver()) {
      const ids = order.map(() => `run.${number++}`);
      if (turn % 3 === 0) {
        await client.query('begin');
        for (const [index, queue] of order.entries()) await enqueueBySql(client, queue, ids[index] ?? '');
        await client.query('commit');
      } else
        await decide(
          client,
          order.map((queue, index) => enqueueItem(queue, ids[index] ?? '')),
        );
      const [byPrefix, byName] = await takeAll(client, [
        { prefix: '', max: 6, holder },
        { queue: order[0] ?? '', max: 2, holder, request_id: `${holder}.${number}` },
      ]);
      await rowsOf(client, 'select * from signalbox_v1.renew_held($1, null)', [holder]);
      const claims = [...(byPrefix?.claims ?? []), ...(byName?.claims ?? [])];
      const releases = claims.map(({ queue, claim_id, body }, index) =>
        releaseItem(
          queue,
          claim_id ?? '',
          body.fencing_token,
          index % 4 === 0 ? { outcome: 'retry', retry_after_ms: index % 8 } : {},
        ),
      );
      await insist(() => decideAll(client, releases), deadlocks);
      const [other = ''] = order.slice(1);
      const claim = await onQueue(client, other).acquire(`claim.${number++}`, { mode: 'skip_if_busy', holder });
      if (claim.code === 'held')
        await decideAll(client, [releaseItem(other, claim.claim_id ?? '', claim.body.fencing_token)]);
    }
  };
  const clients = await Promise.all(Array.from({ length: 6 }, () => db.connect()));
  await Promise.all(clients.map((client, turn) => insist(() => work(client, `worker.${turn}`, turn), deadlocks)));
  expect(deadlocks).toEqual([]);
  await expectSoundQueues(db);
  const { ended } = await oneOf<{ ended: number }>(
    db,
    `select count(*)::int as ended from signalbox.history where final and kind = 'run'`,
  );
  expect(ended).toBeGreaterThan(100);
}, 60_000);

test('takers of one queue that share its places never hold more than there are', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q'], { concurrency_limit: 2 });
  await decide(
    db,
    Array.from({ length: 100 }, (_, index) => enqueueItem('q', `run.${index}`)),
  );
  const crowds = await watchHolders(db, async () => {
    let left = 100;
    await Promise.all(
      Array.from({ length: 4 }, async (_, turn) => {
        const client = await db.connect();
        while (left > 0) {
          const state = await sqlStateOf(
            (async () => {
              const { claims } = await take(client, turn % 2 === 0 ? { queue: 'q', max: 2 } : { prefix: 'q', max: 2 });
              for (const { claim_id, body } of claims) {
                await onQueue(client, 'q').release(claim_id ?? '', body.fencing_token, { wait: true });
                left--;
              }
            })(),
          );
          expect([undefined, '55P03']).toContain(state);
        }
      }),
    );
  });
  expect(Math.max(...crowds)).toBeLessThanOrEqual(2);
  await expectSoundQueues(db);
}, 60_000);

/** How many held at every moment somebody looked while the work was done. */
async function watchHolders(db: TestDatabase, work: () => Promise<void>): Promise<number[]> {
  const seen: number[] = [];
  const isOver = new AbortController();
  const watcher = await db.connect();
  const watching = (async () => {
    while (!isOver.signal.aborted) {
      const { held } = await oneOf<{ held: number }>(
        watcher,
        `select count(*)::int as held from signalbox.leases where state = 'held'`,
      );
      seen.push(held);
    }
  })();
  await work().finally(() => {
    isOver.abort();
  });
  await watching;
  return seen;
}
