import { expect, test } from 'vitest';
import { openRacer } from '../../support/blocked.ts';
import { moveClock } from '../../support/database-clock.ts';
import { freshDatabase, type TestDatabase } from '../../support/database.ts';
import { expectSoundQueues } from '../../support/sound-queues.ts';
import { acquireItem, decide, makeQueues, oneOf, onQueue, rowsOf } from '../../support/sql-verbs.ts';

/** Acquires that take several places; the code that answers each, and its token. */
function heavy(db: TestDatabase, queue = 'q') {
  return async (claimId: string, weight: number, options: Parameters<typeof acquireItem>[2] = {}) => {
    const rows = await decide(db, [{ ...acquireItem(queue, claimId, options), weight }]);
    const answer = rows.find(({ item }) => item === 0);
    if (answer === undefined) throw new Error('no answer');
    return answer;
  };
}

async function placesOf(db: TestDatabase, queue = 'q') {
  const { held, places } = await oneOf<{ held: number; places: number }>(
    db,
    'select held::integer as held, places_taken::integer as places from signalbox_v1.queues where queue = $1',
    [queue],
  );
  return { held, places };
}

test.each([
  ['narrow', 5],
  ['wide', 300],
])('the weights of what holds in a %s queue are what its limit bounds', async (_kind, limit) => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q'], { concurrency_limit: limit });
  const queue = onQueue(db, 'q');
  const acquire = heavy(db);
  const first = await acquire('a', limit - 2);
  expect(first.code).toBe('held');
  expect((await acquire('b', 3)).code).toBe('waiting');
  expect((await acquire('c', 1)).code).toBe('waiting');
  expect(await placesOf(db)).toEqual({ held: 1, places: limit - 2 });
  await expectSoundQueues(db);

  await queue.release('a', first.body.fencing_token);
  expect(await queue.held()).toEqual(expect.arrayContaining(['b', 'c']));
  expect(await placesOf(db)).toEqual({ held: 2, places: 4 });
  await expectSoundQueues(db);
});

test('places of a wide queue whose leases ran out are found by a claim that asks for more than are free', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q'], { concurrency_limit: 300 });
  const acquire = heavy(db);
  expect((await acquire('gone', 298, { ttl_ms: 1000 })).code).toBe('held');
  await moveClock(db, 2000);
  expect((await acquire('newcomer', 3, { mode: 'skip_if_busy' })).code).toBe('held');
  expect(await placesOf(db)).toEqual({ held: 1, places: 3 });
  await expectSoundQueues(db);
});

test('nobody passes a claim that asks for more places than are free, however light', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q'], { concurrency_limit: 3 });
  const queue = onQueue(db, 'q');
  const acquire = heavy(db);
  const [a = 0, b = 0] = await queue.hold('a', 'b');
  expect((await acquire('heavy', 2)).code).toBe('waiting');
  expect((await acquire('light', 1)).code).toBe('waiting');
  expect((await acquire('busy', 1, { mode: 'skip_if_busy' })).code).toBe('queue_busy');
  await queue.release('a', a);
  expect([await queue.held(), await queue.line()]).toEqual([['heavy', 'b'], ['light']]);
  await queue.release('b', b);
  expect((await queue.held()).toSorted()).toEqual(['heavy', 'light']);
});

test('a claim that asks for more than there is takes the whole queue, also after the limit was lowered', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q'], { concurrency_limit: 4 });
  const queue = onQueue(db, 'q');
  const acquire = heavy(db);
  const all = await acquire('all', 9);
  expect(all.code).toBe('held');
  expect(await placesOf(db)).toEqual({ held: 1, places: 4 });
  expect((await acquire('next', 4)).code).toBe('waiting');
  await queue.configure({ concurrency_limit: 2 });
  await queue.release('all', all.body.fencing_token);
  expect(await queue.held()).toEqual(['next']);
  expect(await placesOf(db)).toEqual({ held: 1, places: 2 });
});

test.each(['retry', 'lapsed offer'])(
  'nor does it ask for fewer when it is put back and the limit was raised: %s',
  async (how) => {
    await using db = await freshDatabase();
    await makeQueues(db, ['q'], { concurrency_limit: 2 });
    const queue = onQueue(db, 'q');
    const acquire = heavy(db);
    const [token = 0] = await queue.hold('h');
    await acquire('heavy', 5, { listen_ms: how === 'retry' ? 60_000 : 0 });
    await queue.release('h', token);
    expect(await placesOf(db)).toEqual({ held: 1, places: 2 });
    await queue.configure({ concurrency_limit: 6 });
    if (how === 'retry') {
      const { fencing_token } = (await queue.look('heavy')).body;
      await queue.release('heavy', fencing_token, { outcome: 'retry', retry_after_ms: 0 });
    } else {
      await moveClock(db, 11_000);
      await queue.advance();
    }
    expect(await queue.held()).toEqual(['heavy']);
    expect(await placesOf(db)).toEqual({ held: 1, places: 5 });
    await expectSoundQueues(db);
  },
);

test('a lowered limit lets heavy holders finish, and grants when enough has gone; a raised one grants at once', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q'], { concurrency_limit: 6 });
  const queue = onQueue(db, 'q');
  const acquire = heavy(db);
  const [a, b] = [await acquire('a', 3), await acquire('b', 3)];
  await queue.configure({ concurrency_limit: 4 });
  expect((await acquire('c', 2)).code).toBe('waiting');
  await queue.release('a', a.body.fencing_token);
  expect(await queue.line()).toEqual(['c']);
  await queue.configure({ concurrency_limit: 5 });
  expect((await queue.held()).toSorted()).toEqual(['b', 'c']);
  await queue.release('b', b.body.fencing_token);
  expect(await placesOf(db)).toEqual({ held: 1, places: 2 });
});

test.each([3, 300])('a heavy place in lock delay counts with its weight, limit %i', async (limit) => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q'], { concurrency_limit: limit, lock_delay_ms: 5000 });
  const queue = onQueue(db, 'q');
  const acquire = heavy(db);
  await acquire('a', limit - 1);
  await queue.break('a');
  expect((await acquire('b', 2)).code).toBe('waiting');
  expect((await queue.look('b')).body.waiting_for).toBe('lock_delay');
  await expectSoundQueues(db);
  await moveClock(db, 5100);
  await queue.advance();
  expect(await queue.held()).toEqual(['b']);
  await expectSoundQueues(db);
});

test('an expired heavy lease frees all of its places; one that is being renewed frees none', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q'], { concurrency_limit: 4 });
  const queue = onQueue(db, 'q');
  const acquire = heavy(db);
  const a = await acquire('a', 3);
  await moveClock(db, 31_000);
  const renewer = await openRacer(db);
  await renewer.client.query('begin');
  expect((await onQueue(renewer.client, 'q').renew('a', a.body.fencing_token)).code).toBe('renewed');
  expect((await acquire('b', 2)).code).toBe('waiting');
  await renewer.client.query('rollback');
  expect((await queue.advance()).map(({ code, claim_id }) => [code, claim_id])).toEqual([
    ['ended', 'a'],
    ['held', 'b'],
  ]);
});

test('a heavy claim whose offer lapsed goes back with its weight, and its line still minds it', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q'], { concurrency_limit: 3 });
  const queue = onQueue(db, 'q');
  const acquire = heavy(db);
  const a = await acquire('a', 3);
  await acquire('b', 2, { listen_ms: 0 });
  await queue.release('a', a.body.fencing_token);
  expect((await queue.look('b')).body).toMatchObject({ state: 'held', offered: true });
  await moveClock(db, 11_000);
  expect((await acquire('c', 2)).code).toBe('waiting');
  // Granted again at its old place, before the newcomer, and with its own weight.
  expect([await queue.held(), await queue.line()]).toEqual([['b'], ['c']]);
  expect(await placesOf(db)).toEqual({ held: 1, places: 2 });
  await expectSoundQueues(db);
});

test('no order of acquires, releases and changed limits ever holds more than was allowed when it was granted', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q'], { concurrency_limit: 7 });
  const queue = onQueue(db, 'q');
  const acquire = heavy(db);
  let state = 12_345;
  const random = (below: number) => (state = (state * 1_103_515_245 + 12_345) % 2_147_483_648) % below;
  for (let step = 0; step < 120; step++) {
    const before = (await placesOf(db)).places;
    let limit = (await oneOf<{ n: number }>(db, 'select concurrency_limit as n from signalbox.lines')).n;
    const held = await rowsOf<{ claim_id: string; fencing_token: string }>(
      db,
      `select claim_id, fencing_token::text from signalbox.leases where state = 'held' order by slot`,
    );
    const one = held[random(Math.max(1, held.length))];
    const dice = random(10);
    if (dice < 6) await acquire(`${step}`, 1 + random(4), { mode: random(4) === 0 ? 'skip_if_busy' : 'wait' });
    else if (dice < 9 && one !== undefined) await queue.release(one.claim_id, Number(one.fencing_token));
    else await queue.configure({ concurrency_limit: (limit = 3 + random(8)) });
    expect((await placesOf(db)).places).toBeLessThanOrEqual(Math.max(limit, before));
    // Whoever is first in line has no room.
    const [head] = await rowsOf<{ weight: number }>(
      db,
      'select weight from signalbox.waiting order by place, seq, rank limit 1',
    );
    if (head !== undefined) expect((await placesOf(db)).places + Math.min(head.weight, limit)).toBeGreaterThan(limit);
  }
  await expectSoundQueues(db);
});
