import { expect, test } from 'vitest';
import { openRacer } from '../../support/blocked.ts';
import { moveClock } from '../../support/database-clock.ts';
import { freshDatabase, type TestDatabase } from '../../support/database.ts';
import { type Body, makeQueues, oneOf, onQueue, rowsOf } from '../../support/sql-verbs.ts';

/** `a` has been granted the place while nobody listened; `later` waits behind it. */
async function offered(settings: object = {}) {
  const db = await freshDatabase();
  await makeQueues(db, ['q'], settings);
  const queue = onQueue(db, 'q');
  const [token = 0] = await queue.hold('holder');
  await queue.acquire('a', { listen_ms: 0 });
  await queue.acquire('later', { listen_ms: 600_000 });
  await queue.release('holder', token);
  return { db, queue, [Symbol.asyncDispose]: () => db[Symbol.asyncDispose]() };
}

function leaseOf(db: TestDatabase) {
  return oneOf<{ claim_id: string; offered: boolean; ttl: number }>(
    db,
    `select claim_id, offered, extract(epoch from expires_at - signalbox.clock())::float8 * 1000 as ttl
     from signalbox.leases where state = 'held'`,
  );
}

test('a grant that nobody listens for is an offer of at most ten seconds', async () => {
  await using situation = await offered();
  const lease = await leaseOf(situation.db);
  expect(lease).toMatchObject({ claim_id: 'a', offered: true });
  expect(lease.ttl).toBeLessThanOrEqual(10_000);
  const short = onQueue(situation.db, 'short');
  await makeQueues(situation.db, ['short']);
  const [token = 0] = await short.hold('holder');
  await short.acquire('b', { listen_ms: 0, ttl_ms: 2000 });
  await short.release('holder', token);
  expect((await short.look('b')).body.ttl_remaining_ms).toBeLessThanOrEqual(2000);
});

test('a connected waiter gets a full lease', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q']);
  const queue = onQueue(db, 'q');
  const [token = 0] = await queue.hold('holder');
  await queue.acquire('a', { listen_ms: 60_000 });
  await queue.release('holder', token);
  const lease = await leaseOf(db);
  expect(lease).toMatchObject({ claim_id: 'a', offered: false });
  expect(lease.ttl).toBeGreaterThan(25_000);
});

test('a waiter that hung up is made an offer', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q']);
  const queue = onQueue(db, 'q');
  const [token = 0] = await queue.hold('holder');
  await queue.acquire('a', { listen_ms: 60_000 });
  await queue.hear(['a'], 0);
  await queue.release('holder', token);
  expect(await leaseOf(db)).toMatchObject({ claim_id: 'a', offered: true });
});

test.each(['acquire', 'look', 'renew'])('an offer whose holder is heard by %s is a full lease', async (verb) => {
  await using situation = await offered();
  const { db, queue } = situation;
  const token = (await queue.look('a')).body.fencing_token;
  if (verb === 'renew') expect((await queue.renew('a', token)).code).toBe('renewed');
  const { body } =
    verb === 'acquire' ? await queue.acquire('a', { listen_ms: 0 }) : await queue.look('a', { hear: verb === 'look' });
  expect(body).toMatchObject({ state: 'held', offered: false, fencing_token: token });
  expect(body.ttl_remaining_ms).toBeGreaterThan(25_000);
  await moveClock(db, 20_000);
  await queue.advance();
  expect(await queue.held()).toEqual(['a']);
});

test('reading an offer without being its holder leaves it an offer', async () => {
  await using situation = await offered();
  const { db, queue } = situation;
  await queue.look('a', { hear: false });
  expect((await queue.acquire('a', { holder: 'somebody else' })).code).toBe('claim_id_reused');
  expect(await leaseOf(db)).toMatchObject({ offered: true });
});

test('whoever asks and is granted in that very call has a full lease, however short it listens', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q']);
  const queue = onQueue(db, 'q');
  await queue.hold('holder');
  await queue.acquire('a', { listen_ms: 0 });
  await moveClock(db, 31_000);
  const granted = await queue.acquire('a', { listen_ms: 0 });
  expect(granted).toMatchObject({ code: 'held', body: { offered: false } });
  expect(granted.body.ttl_remaining_ms).toBeGreaterThan(25_000);
});

test('a lapsed offer puts its claim back once at its old place; lapsing again ends it', async () => {
  await using situation = await offered();
  const { db, queue } = situation;
  const { seq } = await oneOf<{ seq: string }>(db, `select seq from signalbox.leases where state = 'held'`);

  await queue.configure({ paused: true });
  await moveClock(db, 10_100);
  await queue.advance();
  expect(await queue.line()).toEqual(['a', 'later']);
  expect(await oneOf(db, `select seq, lapsed_offers from signalbox.waiting where claim_id = 'a'`)).toEqual({
    seq,
    lapsed_offers: 1,
  });
  expect(await oneOf(db, 'select waiting from signalbox.lines')).toEqual({ waiting: 2 });

  await queue.configure({ paused: false });
  expect(await leaseOf(db)).toMatchObject({ claim_id: 'a', offered: true });
  await moveClock(db, 20_300);
  const moved = await queue.advance();
  expect(moved.map(({ code, claim_id }) => [code, claim_id])).toEqual([
    ['ended', 'a'],
    ['held', 'later'],
  ]);
  expect(await queue.look('a')).toMatchObject({ code: 'ended', body: { state: 'expired', reason: 'expired' } });
});

test('a claim put back after a lapsed offer and heard then is granted in full', async () => {
  await using situation = await offered();
  const { db, queue } = situation;
  await moveClock(db, 10_100);
  const granted = await queue.acquire('a', { listen_ms: 0 });
  expect(granted).toMatchObject({ code: 'held', body: { offered: false } });
  expect(await queue.line()).toEqual(['later']);
});

test('cancelling an offer passes the place on', async () => {
  await using situation = await offered();
  const { db, queue } = situation;
  expect((await queue.cancel('a')).code).toBe('cancelled');
  expect(await leaseOf(db)).toMatchObject({ claim_id: 'later', offered: false });
});

test('cancelling what is held by somebody who was heard only asks for release', async () => {
  await using situation = await offered();
  const { queue } = situation;
  const { fencing_token: token } = (await queue.look('a', { hear: true })).body;
  expect((await queue.cancel('a')).code).toBe('release_requested');
  expect(await queue.held()).toEqual(['a']);
  expect((await queue.renew('a', token)).body.release_requested).toBe(true);
});

test('a broken or cancelled offer leaves no lock delay: its holder never knew of it', async () => {
  for (const end of ['break', 'cancel'] as const) {
    await using situation = await offered({ lock_delay_ms: 60_000 });
    await situation.queue[end]('a');
    expect(await situation.queue.held()).toEqual(['later']);
  }
});

test('a poll of a waiting claim is heard and answered while its line is locked', async () => {
  await using situation = await offered();
  const { db, queue } = situation;
  await queue.look('a', { hear: true });
  const keeper = await openRacer(db);
  await keeper.client.query('begin');
  await keeper.client.query('select from signalbox.lines for no key update');
  await moveClock(db, 5000);

  expect((await queue.acquire('later', { listen_ms: 7000 })).code).toBe('waiting');
  const { listens } = await oneOf<{ listens: number }>(
    db,
    `select extract(epoch from listens_until - heard_at)::int as listens from signalbox.heard where claim_id = 'later'`,
  );
  expect(listens).toBe(7);
  expect((await queue.look('later', { hear: true })).body.position).toBe(1);
});

test('a poll by another holder neither hears nor answers the claim', async () => {
  await using situation = await offered();
  const { db, queue } = situation;
  const before = await rowsOf(db, 'select * from signalbox.heard');
  expect((await queue.acquire('later', { holder: 'thief' })).code).toBe('claim_id_reused');
  expect(await rowsOf(db, 'select * from signalbox.heard')).toEqual(before);
});

test('positions of all waiters come from one call', async () => {
  await using situation = await offered();
  const { queue } = situation;
  await queue.acquire('urgent', { priority: 9 });
  await queue.acquire('last');
  const answers = await queue.lookAll(['last', 'later', 'urgent', 'a', 'stranger']);
  expect(
    answers
      .toSorted((a, b) => (a.item ?? 0) - (b.item ?? 0))
      .map(({ code, body }) => [code, (body as Body | null)?.position]),
  ).toEqual([
    ['waiting', 3],
    ['waiting', 2],
    ['waiting', 1],
    ['held', undefined],
    ['claim_not_found', undefined],
  ]);
});

test('a claim that goes back into the line while it is being looked at is answered all the same', async () => {
  await using situation = await offered();
  const { db, queue } = situation;
  await makeQueues(db, ['other']);
  const [token = 0] = await onQueue(db, 'other').hold('first');
  await onQueue(db, 'other').acquire('b', { listen_ms: 0 });
  await onQueue(db, 'other').release('first', token);
  await queue.configure({ paused: true });
  const [keeper, looker] = [await openRacer(db), await openRacer(db)];
  await db.query(`alter function signalbox_v1.look set lock_timeout = '20s'`);

  // The look stops at b's offer, after reading who waits and before reading a's lease.
  await keeper.client.query('begin');
  await keeper.client.query(`select from signalbox.leases where queue = 'other' for no key update`);
  const items = [
    { queue: 'other', claim_id: 'b' },
    { queue: 'q', claim_id: 'a' },
  ];
  const looked = rowsOf<{ item: number; code: string }>(looker.client, 'select * from signalbox_v1.look($1, true)', [
    JSON.stringify(items),
  ]);
  await looker.isBlocked();
  await moveClock(db, 10_100);
  await queue.advance();
  await keeper.client.query('commit');

  expect((await looked).map(({ item, code }) => [item, code])).toEqual([
    [0, 'held'],
    [1, 'waiting'],
  ]);
});

test('an offer heard just too late, before anybody ended it, is a full lease; it is never told to have expired', async () => {
  await using situation = await offered();
  const { db, queue } = situation;
  await moveClock(db, 10_100);
  expect(await queue.look('a', { hear: true })).toMatchObject({
    code: 'held',
    body: { state: 'held', offered: false },
  });
  await queue.advance();
  expect([await queue.held(), await queue.line()]).toEqual([['a'], ['later']]);
});

test('an offer that lapses while its holder is being heard is told as waiting again', async () => {
  await using situation = await offered();
  const { db, queue } = situation;
  await queue.configure({ paused: true });
  await moveClock(db, 10_100);
  const [reaper, looker] = [await openRacer(db), await openRacer(db)];
  await db.query(`alter function signalbox_v1.look set lock_timeout = '20s'`);

  await reaper.client.query('begin');
  await onQueue(reaper.client, 'q').advance();
  const looked = onQueue(looker.client, 'q').look('a', { hear: true });
  await looker.isBlocked();
  await reaper.client.query('commit');
  expect(await looked).toMatchObject({ code: 'waiting', body: { position: 1 } });
});

test('an advance puts back at most about a hundred lapsed offers, and the next ones put back the rest', async () => {
  await using db = await freshDatabase();
  const names = ['q1', 'q2', 'q3'];
  await makeQueues(db, names, { concurrency_limit: 0 });
  for (const name of names) {
    const queue = onQueue(db, name);
    for (let number = 0; number < 60; number++) await queue.acquire(`${number}`, { listen_ms: 0 });
    await queue.configure({ concurrency_limit: 100 });
    await queue.configure({ paused: true });
  }
  await moveClock(db, 10_100);
  const putBack: number[] = [];
  for (let call = 0; call < 3; call++) {
    await rowsOf(db, 'select * from signalbox_v1.advance($1, 100)', [names]);
    putBack.push((await oneOf<{ n: number }>(db, 'select count(*)::int as n from signalbox.waiting')).n);
  }
  expect(putBack).toEqual([100, 180, 180]);
});
