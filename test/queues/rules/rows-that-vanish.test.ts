import { expect, test } from 'vitest';
import { openRacer, waitPatiently } from '../../support/blocked.ts';
import { moveClock } from '../../support/database-clock.ts';
import { freshDatabase, type TestDatabase } from '../../support/database.ts';
import { makeQueues, oneOf, onQueue, rowsOf } from '../../support/sql-verbs.ts';

/** Lines without settings, or settings without a line: every decision about such a queue would fail. */
function halfQueues(db: TestDatabase) {
  return rowsOf(
    db,
    `select queue from signalbox.lines full join signalbox.queues using (queue)
     where lines.queue is null or queues.queue is null`,
  );
}

test('a queue deleted while others make it is there as a whole or not at all', async () => {
  await using db = await freshDatabase();
  await waitPatiently(db);
  await makeQueues(db, ['b']);
  const [keeper, maker] = [await openRacer(db), await openRacer(db)];

  // The maker has passed the settings of b, which are there, when it stops at the line of a.
  await keeper.client.query('begin');
  await keeper.client.query(`insert into signalbox.lines (queue) values ('a')`);
  const made = makeQueues(maker.client, ['a', 'b']);
  await maker.isBlocked();
  await onQueue(db, 'b').delete();
  await keeper.client.query('rollback');
  await made;

  expect(await halfQueues(db)).toEqual([]);
});

test.each(['make', 'configure'])('to %s a queue that is being deleted makes it anew', async (how) => {
  await using db = await freshDatabase();
  await waitPatiently(db);
  await makeQueues(db, ['q']);
  const [deleter, maker] = [await openRacer(db), await openRacer(db)];
  await deleter.client.query('begin');
  await onQueue(deleter.client, 'q').delete();
  const made =
    how === 'make' ? makeQueues(maker.client, ['q']) : onQueue(maker.client, 'q').configure({ concurrency_limit: 2 });
  await maker.isBlocked();
  await deleter.client.query('commit');
  await made;
  expect(await halfQueues(db)).toEqual([]);
  expect((await onQueue(db, 'q').acquire('a')).code).toBe('held');
});

async function openSweep(db: TestDatabase) {
  const { epoch } = await oneOf<{ epoch: string }>(db, `select * from signalbox_v1.campaign('leader', 3600000)`);
  const { client } = await openRacer(db);
  return () =>
    rowsOf<{ code: string; claim_id: string }>(client, `select * from signalbox_v1.sweep_silent('leader', $1)`, [
      epoch,
    ]);
}

test('a claim that goes into the line during the sweep of left-over heard rows keeps its own', async () => {
  await using db = await freshDatabase();
  await waitPatiently(db);
  await makeQueues(db, ['q'], { waiting_ttl_ms: 5000 });
  await onQueue(db, 'q').hold('holder');
  await db.query(`insert into signalbox.heard values ('q', 'a', signalbox.clock(), signalbox.clock())`);
  await db.query(`insert into signalbox.heard values ('q', 'b', signalbox.clock(), signalbox.clock())`);
  await moveClock(db, 20_000);
  const sweep = await openSweep(db);
  const asker = await openRacer(db);

  await asker.client.query('begin');
  expect((await onQueue(asker.client, 'q').acquire('a')).code).toBe('waiting');
  await sweep();
  await asker.client.query('commit');
  await sweep();

  expect(await rowsOf(db, 'select claim_id from signalbox.heard')).toEqual([{ claim_id: 'a' }]);
  // Without its row it would wait for ever, however silent.
  await moveClock(db, 120_000);
  expect((await sweep()).filter(({ code }) => code === 'ended').map(({ claim_id }) => claim_id)).toEqual(['a']);
});

test('left-over heard rows of queues that are gone are swept, page after page, and the round ends', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q']);
  await db.query(
    `insert into signalbox.heard select case n % 2 when 0 then 'q' else 'gone' end, 'c' || n, signalbox.clock(),
       signalbox.clock() from generate_series(1, 250) n`,
  );
  await moveClock(db, 120_000);
  const { epoch } = await oneOf<{ epoch: string }>(db, `select * from signalbox_v1.campaign('leader', 3600000)`);
  let [queue, claim, pages] = ['', '', 0];
  for (;;) {
    const [next] = await rowsOf<{ queue: string; claim_id: string }>(
      db,
      `select * from signalbox_v1.sweep_silent('leader', $1, $2, $3) where code = 'next'`,
      [epoch, queue, claim],
    );
    if (next === undefined) break;
    pages++;
    [queue, claim] = [next.queue, next.claim_id];
  }
  expect(pages).toBe(3);
  expect(await rowsOf(db, 'select * from signalbox.heard')).toEqual([]);
});

test('a latest_only claim that the line has no room for supersedes nobody', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q']);
  const queue = onQueue(db, 'q');
  await queue.hold('holder');
  await queue.acquire('old', { mode: 'latest_only' });
  await queue.acquire('b');
  await queue.acquire('c');
  await queue.configure({ max_waiting: 2 });
  expect((await queue.acquire('new', { mode: 'latest_only' })).code).toBe('queue_full');
  expect(await queue.line()).toEqual(['old', 'b', 'c']);

  await queue.configure({ max_waiting: 3 });
  expect((await queue.acquire('new', { mode: 'latest_only' })).code).toBe('waiting');
  expect(await queue.line()).toEqual(['b', 'c', 'new']);
});
