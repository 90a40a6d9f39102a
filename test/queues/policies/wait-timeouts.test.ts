import { expect, test } from 'vitest';
import { openRacer, waitPatiently } from '../../support/blocked.ts';
import { moveClock } from '../../support/database-clock.ts';
import { freshDatabase, type TestDatabase } from '../../support/database.ts';
import { expectSoundQueues } from '../../support/sound-queues.ts';
import { acquireItem, decide, makeQueues, onQueue, releaseItem, rowsOf } from '../../support/sql-verbs.ts';

const timedOut = { state: 'expired', reason: 'wait_timeout' };

async function sweep(db: TestDatabase, max = 100) {
  await rowsOf(db, `select * from signalbox_v1.campaign('r1', 600000)`);
  return rowsOf<{ code: string; claim_id: string | null }>(
    db,
    `select code, claim_id from signalbox_v1.sweep_wait_timeouts('r1', 1, p_max => $1)`,
    [max],
  );
}

test('the smaller of the bounds of the queue and of the claim counts', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q'], { max_wait_ms: 5000 });
  const queue = onQueue(db, 'q');
  await queue.hold('holder');
  await queue.acquire('short', { max_wait_ms: 2000 });
  await queue.acquire('long', { max_wait_ms: 60_000 });
  await queue.acquire('plain');
  await moveClock(db, 3000);
  expect(await sweep(db)).toEqual([{ code: 'ended', claim_id: 'short' }]);
  await moveClock(db, 6000);
  expect((await sweep(db)).map(({ claim_id }) => claim_id).toSorted()).toEqual(['long', 'plain']);
  expect(await queue.look('short')).toMatchObject({ code: 'ended', body: timedOut });
  expect(await queue.line()).toEqual([]);
  await expectSoundQueues(db);
});

test.each([
  { kind: 'narrow', settings: {}, weight: 1 },
  { kind: 'wide', settings: { concurrency_limit: 257 }, weight: 257 },
  { kind: 'weighted', settings: { concurrency_limit: 2 }, weight: 2 },
])(
  'nobody who has waited too long is granted, though no leader has ended it: $kind line',
  async ({ settings, weight }) => {
    await using db = await freshDatabase();
    await makeQueues(db, ['q'], settings);
    const queue = onQueue(db, 'q');
    const { body } = await queue.acquire('holder', { weight });
    for (const claim of ['late 1', 'late 2']) await queue.acquire(claim, { max_wait_ms: 1000, weight });
    await queue.acquire('patient', { weight });
    await queue.acquire('late 3', { max_wait_ms: 1000, weight });
    await moveClock(db, 2000);
    await queue.release('holder', body.fencing_token);
    expect(await queue.held()).toEqual(['patient']);
    const patient = await queue.look('patient');
    await queue.release('patient', patient.body.fencing_token);
    // With nobody else left, those who serve the line end them.
    expect([await queue.held(), await queue.line()]).toEqual([[], []]);
    for (const claim of ['late 1', 'late 2', 'late 3'])
      expect(await queue.look(claim)).toMatchObject({ code: 'ended', body: timedOut });
    expect((await queue.acquire('next')).code).toBe('held');
    await expectSoundQueues(db);
  },
);

test('who asks after its time is told, with the line locked and without', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q']);
  const queue = onQueue(db, 'q');
  await queue.hold('holder');
  for (const claim of ['a', 'b']) await queue.acquire(claim, { max_wait_ms: 1000 });
  await queue.renew('holder', (await queue.look('holder')).body.fencing_token, 60_000);
  await moveClock(db, 2000);
  for (const [claim, wait] of [
    ['a', false],
    ['b', true],
  ] as const)
    expect(await queue.acquire(claim, { wait })).toMatchObject({ code: 'claim_ended', body: timedOut });
  expect(await queue.line()).toEqual([]);
  await expectSoundQueues(db);
});

test('a retry counts from when the claim was first asked for, also while it is delayed', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q'], { max_wait_ms: 10_000, default_ttl_ms: 60_000 });
  const queue = onQueue(db, 'q');
  // Granted at once, as by a whole batch: it never stood in line.
  const { body } = await queue.acquire('a');
  await moveClock(db, 4000);
  await queue.release('a', body.fencing_token, { outcome: 'retry', retry_after_ms: 60_000 });
  expect(await sweep(db)).toEqual([]);
  await moveClock(db, 11_000);
  expect(await sweep(db)).toEqual([{ code: 'ended', claim_id: 'a' }]);
  expect(await queue.look('a')).toMatchObject({ code: 'ended', body: timedOut });
  await expectSoundQueues(db);
});

test('a sweep goes through many in pages, lets what stood behind them go, and calls takers', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q'], { concurrency_limit: 3 });
  const queue = onQueue(db, 'q');
  await queue.hold('holder');
  await queue.acquire('heavy', { weight: 3, max_wait_ms: 1000 });
  await queue.acquire('light');
  await makeQueues(db, ['full'], { concurrency_limit: 1 });
  const full = onQueue(db, 'full');
  await full.hold('other');
  await decide(
    db,
    Array.from({ length: 8 }, (_, index) => acquireItem('full', `c${index}`, { max_wait_ms: 2000 })),
  );
  await queue.enqueue('run');
  await moveClock(db, 3000);
  const page = await sweep(db, 5);
  expect(
    page
      .map(({ code }) => code)
      .filter((code) => code !== 'ended')
      .toSorted(),
  ).toEqual(['held', 'next', 'ready']);
  expect(await queue.held()).toEqual(['holder', 'light']);
  expect(await full.line()).toHaveLength(4);
  expect((await sweep(db)).map(({ code }) => code)).toEqual(['ended', 'ended', 'ended', 'ended']);
  await expectSoundQueues(db);
});

test('a claim that is granted while the sweep waits for nobody is not ended: its line is left for the next round', async () => {
  await using db = await freshDatabase();
  await waitPatiently(db);
  await makeQueues(db, ['q']);
  const queue = onQueue(db, 'q');
  const [token = 0] = await queue.hold('holder');
  await queue.acquire('a', { max_wait_ms: 60_000 });
  const racer = await openRacer(db);
  await racer.client.query('begin');
  await decide(racer.client, [releaseItem('q', 'holder', token)]);
  await moveClock(db, 61_000);
  expect(await sweep(db)).toEqual([]);
  await racer.client.query('commit');
  expect(await sweep(db)).toEqual([]);
  expect(await rowsOf(db, `select claim_id from signalbox.leases where state = 'held'`)).toEqual([{ claim_id: 'a' }]);
});
