import { expect, test } from 'vitest';
import { openRacer, waitPatiently } from '../../support/blocked.ts';
import { moveClock } from '../../support/database-clock.ts';
import { freshDatabase, type TestDatabase } from '../../support/database.ts';
import { makeQueues, onQueue, rowsOf } from '../../support/sql-verbs.ts';

/** Everything that a late call could spoil. */
function stateOf(db: TestDatabase) {
  return rowsOf(
    db,
    `select (select jsonb_agg(l order by l.queue, l.slot) from signalbox.leases l) as leases,
       (select jsonb_agg(n order by n.queue) from signalbox.lines n) as lines,
       (select jsonb_agg(w order by w.claim_id) from signalbox.waiting w) as waiting,
       (select count(*) from signalbox.history) as ended, (select count(*) from signalbox.events) as events`,
  );
}

test.each(['narrow', 'wide'])(
  'a zombie of a %s queue changes nothing by renewing or releasing after the takeover',
  async (width) => {
    await using db = await freshDatabase();
    await makeQueues(db, ['q'], width === 'wide' ? { concurrency_limit: null } : {});
    const queue = onQueue(db, 'q');
    await queue.configure({ concurrency_limit: 1 });
    const [zombie = 0] = await queue.hold('a');
    await moveClock(db, 31_000);
    const [token = 0] = await queue.hold('b');
    const before = await stateOf(db);

    expect(await queue.renew('a', zombie)).toMatchObject({ code: 'lease_lost', body: { reason: 'expired' } });
    expect(await queue.release('a', zombie)).toMatchObject({ code: 'not_released', body: { reason: 'expired' } });
    expect((await queue.renew('b', zombie)).code).toBe('token_mismatch');
    expect((await queue.release('b', zombie)).code).toBe('token_mismatch');
    expect((await queue.release('a', token)).code).toBe('token_mismatch');
    expect(await stateOf(db)).toEqual(before);
  },
);

test('a renewal that waited for the takeover to commit is told that the lease is lost', async () => {
  await using db = await freshDatabase();
  await waitPatiently(db);
  await makeQueues(db, ['q']);
  const [token = 0] = await onQueue(db, 'q').hold('a');
  await moveClock(db, 31_000);
  const [taker, zombie] = [await openRacer(db), await openRacer(db)];

  await taker.client.query('begin');
  expect((await onQueue(taker.client, 'q').acquire('b')).code).toBe('held');
  const renewed = onQueue(zombie.client, 'q').renew('a', token);
  await zombie.isBlocked();
  await taker.client.query('commit');

  expect(await renewed).toMatchObject({ code: 'lease_lost', body: { reason: 'expired' } });
  expect((await onQueue(db, 'q').look('b')).body.ttl_remaining_ms).toBeGreaterThan(29_000);
});

test('a token that the claim never had is a mismatch, and one of no known claim is not found', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q']);
  const queue = onQueue(db, 'q');
  const [token = 0] = await queue.hold('a');
  await queue.acquire('b');
  const before = await stateOf(db);

  for (const wrong of [token + 1, token - 1]) {
    expect((await queue.release('a', wrong)).code).toBe('token_mismatch');
    expect((await queue.renew('a', wrong)).code).toBe('token_mismatch');
  }
  expect((await queue.release('b', token)).code).toBe('token_mismatch');
  expect((await queue.release('stranger', token)).code).toBe('claim_not_found');
  expect((await queue.renew('stranger', token)).code).toBe('claim_not_found');
  expect(await stateOf(db)).toEqual(before);
});

test.each(['narrow', 'wide'])('releasing twice in a %s queue says released, then why not', async (width) => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q'], width === 'wide' ? { concurrency_limit: null } : {});
  const queue = onQueue(db, 'q');
  const [token = 0] = await queue.hold('a');
  expect((await queue.release('a', token)).code).toBe('released');
  expect(await queue.release('a', token)).toMatchObject({ code: 'not_released', body: { reason: 'released' } });
  await queue.hold('b');
  expect(await queue.release('a', token)).toMatchObject({ code: 'not_released', body: { reason: 'released' } });
  expect(await queue.renew('a', token)).toMatchObject({ code: 'lease_lost', body: { reason: 'released' } });
});

test('release keeps claim and token in the row', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q']);
  const [token = 0] = await onQueue(db, 'q').hold('a');
  await onQueue(db, 'q').release('a', token);
  const rows = await rowsOf(
    db,
    `select state, claim_id, fencing_token::float8 as token, end_state, end_reason from signalbox.leases`,
  );
  expect(rows).toEqual([{ state: 'free', claim_id: 'a', token, end_state: 'released', end_reason: 'released' }]);
});

test('an older token of a claim that was granted again releases nothing and says how that grant ended', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q']);
  const queue = onQueue(db, 'q');
  const [first = 0] = await queue.hold('first');
  await queue.acquire('a', { listen_ms: 0 });
  await queue.release('first', first);
  const offered = (await queue.look('a')).body.fencing_token;
  await moveClock(db, 11_000);
  await queue.advance();
  const again = (await queue.acquire('a')).body.fencing_token;
  expect(again).toBeGreaterThan(offered);

  expect(await queue.release('a', offered)).toMatchObject({ code: 'not_released', body: { reason: 'expired' } });
  expect(await queue.renew('a', offered)).toMatchObject({ code: 'lease_lost', body: { reason: 'expired' } });
  expect(await queue.held()).toEqual(['a']);
});

test('acquire of an ended claim says how it ended, also after its slot was used again', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q']);
  const queue = onQueue(db, 'q');
  const [token = 0] = await queue.hold('a');
  await queue.release('a', token);
  expect(await queue.acquire('a')).toMatchObject({ code: 'claim_ended', body: { state: 'released' } });
  await queue.hold('b');
  expect(await queue.acquire('a')).toMatchObject({ code: 'claim_ended', body: { state: 'released' } });
  expect(await queue.line()).toEqual([]);
});

test('another holder asking with a living claim id is refused, held or waiting', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q']);
  const queue = onQueue(db, 'q');
  await queue.hold('a');
  await queue.acquire('b');
  expect((await queue.acquire('a', { holder: 'thief' })).code).toBe('claim_id_reused');
  expect((await queue.acquire('b', { holder: 'thief' })).code).toBe('claim_id_reused');
});

test('acquiring one claim twice at once on two connections makes one claim', async () => {
  await using db = await freshDatabase();
  await waitPatiently(db);
  await makeQueues(db, ['q'], { concurrency_limit: 5 });
  const [first, second] = [await openRacer(db), await openRacer(db)];

  await first.client.query('begin');
  const granted = await onQueue(first.client, 'q').acquire('a');
  const waited = onQueue(second.client, 'q').acquire('a', { wait: true });
  await second.isBlocked();
  await first.client.query('commit');

  expect((await waited).body).toMatchObject({ state: 'held', fencing_token: granted.body.fencing_token });
  expect(await onQueue(db, 'q').held()).toEqual(['a']);
});
