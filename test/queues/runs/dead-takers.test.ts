import { expect, test } from 'vitest';
import { openRacer, waitPatiently } from '../../support/blocked.ts';
import { moveClock } from '../../support/database-clock.ts';
import { freshDatabase, type TestDatabase } from '../../support/database.ts';
import { expectSoundQueues } from '../../support/sound-queues.ts';
import {
  decide,
  enqueueItem,
  makeQueues,
  oneOf,
  onQueue,
  renewHeld,
  rowsOf,
  take,
  takeExactly,
} from '../../support/sql-verbs.ts';

async function queueOf(db: TestDatabase, settings: object, ...ids: readonly string[]) {
  await makeQueues(db, ['q'], settings);
  await decide(
    db,
    ids.map((id) => enqueueItem('q', id)),
  );
  return onQueue(db, 'q');
}

test('the run of a taker that died is back at its old place at once, and its attempt counts', async () => {
  await using db = await freshDatabase();
  const queue = await queueOf(db, {}, 'a', 'b');
  await takeExactly(db, 'q', 'a');
  await moveClock(db, 29_000);
  expect((await queue.take()).ids).toEqual([]);
  await moveClock(db, 30_100);
  const { claims } = await queue.take();
  expect(claims.map(({ claim_id, body }) => [claim_id, body.attempt])).toEqual([['a', 2]]);
  expect(await rowsOf(db, 'select state, reason, final, attempt from signalbox.history')).toEqual([
    { state: 'waiting', reason: 'expired', final: false, attempt: 1 },
  ]);
  await expectSoundQueues(db);
});

test('it is put back once: by whoever looks first, and the next one finds nothing to do', async () => {
  await using db = await freshDatabase();
  const queue = await queueOf(db, {}, 'a');
  await takeExactly(db, 'q', 'a');
  await moveClock(db, 31_000);
  expect((await queue.advance()).map(({ code }) => code)).toEqual(['returned', 'ready']);
  expect((await queue.advance()).map(({ code }) => code)).toEqual(['ready']);
  expect(await rowsOf(db, 'select attempt from signalbox.history')).toHaveLength(1);
  await takeExactly(db, 'q', 'a');
  expect(await queue.advance()).toEqual([]);
});

test('a lease that is alive is never put back', async () => {
  await using db = await freshDatabase();
  const queue = await queueOf(db, {}, 'a', 'b');
  const [token = 0] = await takeExactly(db, 'q', 'a');
  for (const ms of [20_000, 40_000, 60_000]) {
    await moveClock(db, ms);
    expect((await queue.renew('a', token)).code).toBe('renewed');
    expect([await queue.advance(), (await queue.take()).ids]).toEqual([[], []]);
  }
});

test('a renewal that is under way when the time runs out wins over the take that would put the run back', async () => {
  await using db = await freshDatabase();
  await waitPatiently(db);
  const queue = await queueOf(db, {}, 'a', 'b');
  const [token = 0] = await takeExactly(db, 'q', 'a');
  await moveClock(db, 31_000);
  const renewer = await openRacer(db);
  await renewer.client.query('begin');
  expect((await onQueue(renewer.client, 'q').renew('a', token)).code).toBe('renewed');
  expect((await queue.take()).ids).toEqual([]);
  await renewer.client.query('commit');
  expect(await queue.held()).toEqual(['a']);
  expect((await queue.take()).ids).toEqual([]);
  await expectSoundQueues(db);
});

test('with a lock delay the place stays empty so long after a taker died, though its run waits', async () => {
  await using db = await freshDatabase();
  const queue = await queueOf(db, { lock_delay_ms: 10_000 }, 'a', 'b');
  await takeExactly(db, 'q', 'a');
  await moveClock(db, 31_000);
  expect((await queue.take()).ids).toEqual([]);
  expect(await queue.line('run')).toEqual(['a', 'b']);
  await moveClock(db, 39_000);
  expect((await queue.take()).ids).toEqual([]);
  await moveClock(db, 40_500);
  await takeExactly(db, 'q', 'a');
  await expectSoundQueues(db);
});

test.each(['narrow', 'wide'])('max_hold ends a hold that is renewed, and the run goes back: %s', async (width) => {
  await using db = await freshDatabase();
  const queue = await queueOf(db, { max_hold_ms: 40_000, concurrency_limit: width === 'wide' ? null : 1 }, 'a');
  const [token = 0] = await takeExactly(db, 'q', 'a');
  await moveClock(db, 20_000);
  await queue.renew('a', token);
  await moveClock(db, 41_000);
  expect(await queue.renew('a', token)).toMatchObject({ code: 'lease_lost', body: { reason: 'max_hold' } });
  const [again = 0] = await takeExactly(db, 'q', 'a');
  expect(again).toBeGreaterThan(token);
  expect(await rowsOf(db, 'select reason, final from signalbox.history')).toEqual([
    { reason: 'max_hold', final: false },
  ]);
  await expectSoundQueues(db);
});

test('after max_attempts takers died, the run is dead, and the next one goes', async () => {
  await using db = await freshDatabase();
  const queue = await queueOf(db, { max_attempts: 2 }, 'a', 'b');
  await takeExactly(db, 'q', 'a');
  await moveClock(db, 31_000);
  await takeExactly(db, 'q', 'a');
  await moveClock(db, 62_000);
  await takeExactly(db, 'q', 'b');
  expect(await queue.dead()).toEqual(['a: max_attempts']);
  await expectSoundQueues(db);
});

test('a stale worker can neither renew nor release nor give back what a new one holds', async () => {
  await using db = await freshDatabase();
  const queue = await queueOf(db, {}, 'a');
  const [old = 0] = (await queue.take(1, { holder: 'stale' })).claims.map(({ body }) => body.fencing_token);
  await moveClock(db, 31_000);
  const [token = 0] = (await queue.take(1, { holder: 'new' })).claims.map(({ body }) => body.fencing_token);
  expect(await queue.renew('a', old)).toMatchObject({ code: 'lease_lost', body: { reason: 'expired' } });
  expect(await renewHeld(db, 'stale')).toEqual([]);
  expect(await queue.release('a', old, { outcome: 'success' })).toMatchObject({
    code: 'not_released',
    body: { reason: 'expired' },
  });
  expect((await queue.release('a', old, { outcome: 'retry' })).code).toBe('not_released');
  expect((await queue.giveBack('a', old)).code).toBe('not_released');
  expect(await queue.held()).toEqual(['a']);
  expect(await renewHeld(db, 'new')).toMatchObject([{ code: 'renewed', claim_id: 'a' }]);
  expect((await queue.release('a', token, { outcome: 'success' })).code).toBe('released');
  await expectSoundQueues(db);
});

test('a holder renews with one call all it has taken and still holds, and nothing else', async () => {
  await using db = await freshDatabase();
  const queues = ['a/1', 'a/2', 'b'];
  await makeQueues(db, queues, { concurrency_limit: 9, max_hold_ms: 100_000 });
  for (const queue of queues)
    await decide(
      db,
      [1, 2, 3].map((n) => enqueueItem(queue, `run.${n}`)),
    );
  await take(db, { prefix: '', max: 6, holder: 'me' });
  await take(db, { prefix: '', max: 3, holder: 'other' });
  await onQueue(db, 'b').acquire('claim', { holder: 'me' });
  const { token } = await rowsOf<{ token: number }>(
    db,
    `select fencing_token::float8 as token from signalbox.taken where holder = 'me' and queue = 'a/1' order by slot limit 1`,
  ).then(([row]) => row ?? { token: 0 });
  const released = await rowsOf<{ claim_id: string }>(
    db,
    `select claim_id from signalbox.taken where queue = 'a/1' and fencing_token = $1`,
    [token],
  );
  await onQueue(db, 'a/1').release(released[0]?.claim_id ?? '', token);
  await moveClock(db, 10_000);
  const ends = () =>
    rowsOf<{ holder: string; kind: string; remaining: number }>(
      db,
      `select holder, kind, round(extract(epoch from expires_at - signalbox.clock()))::int as remaining
       from signalbox.leases where state = 'held' order by queue, slot`,
    );
  const some = await renewHeld(db, 'me', { prefix: 'a/' });
  expect(some.map(({ code, queue }) => [code, queue])).toEqual([
    ['renewed', 'a/1'],
    ['renewed', 'a/2'],
    ['renewed', 'a/2'],
  ]);
  const all = await renewHeld(db, 'me', { ttl_ms: 60_000 });
  expect(all.map(({ code }) => code)).toEqual(Array.from({ length: 5 }, () => 'renewed'));
  for (const lease of await ends())
    expect([lease, lease.remaining]).toEqual([lease, lease.holder === 'me' && lease.kind === 'run' ? 60 : 20]);
  expect(await renewHeld(db, 'nobody')).toEqual([]);
  await moveClock(db, 99_000);
  await renewHeld(db, 'me');
  await moveClock(db, 101_000);
  expect((await renewHeld(db, 'me')).map(({ code, body }) => [code, body.reason])).toEqual(
    Array.from({ length: 5 }, () => ['lease_lost', 'max_hold']),
  );
  await expectSoundQueues(db);
});

test('two holders that renew all they have, and a take that puts back what ran out, never deadlock', async () => {
  await using db = await freshDatabase();
  await waitPatiently(db);
  await makeQueues(db, ['a', 'b'], { concurrency_limit: 2 });
  for (const queue of ['a', 'b']) await onQueue(db, queue).enqueue(`of.${queue}`);
  await take(db, { prefix: '', max: 2, holder: 'me' });
  await moveClock(db, 31_000);
  const [renewer, taker] = [await openRacer(db), await openRacer(db)];
  await renewer.client.query('begin');
  expect((await renewHeld(renewer.client, 'me')).map(({ code }) => code)).toEqual(['renewed', 'renewed']);
  expect((await take(taker.client, { queue: 'a' })).ids).toEqual([]);
  await renewer.client.query('commit');
  expect(await onQueue(db, 'a').held()).toEqual(['of.a']);
});

test('the leader finds what ran out and what a lock delay kept empty, for takers that name no queue', async () => {
  await using db = await freshDatabase();
  const queue = await queueOf(db, { lock_delay_ms: 10_000 }, 'a');
  await takeExactly(db, 'q', 'a');
  const { epoch } = await oneOf<{ epoch: string }>(db, `select epoch from signalbox_v1.campaign('me', 3600000)`);
  const sweep = async (chore: string) => {
    await rowsOf(db, `select * from signalbox_v1.sweep_${chore}('me', $1)`, [epoch]);
    return (await take(db, { prefix: '' })).ids;
  };
  await moveClock(db, 31_000);
  expect((await take(db, { prefix: '' })).ids).toEqual([]);
  expect([await sweep('leases'), await queue.line('run')]).toEqual([[], ['a']]);
  await moveClock(db, 40_500);
  expect((await take(db, { prefix: '' })).ids).toEqual([]);
  expect(await sweep('lines')).toEqual(['a']);
  await expectSoundQueues(db);
});
