import { expect, test } from 'vitest';
import { openRacer, waitPatiently } from '../../support/blocked.ts';
import { moveClock } from '../../support/database-clock.ts';
import { freshDatabase } from '../../support/database.ts';
import { expectSoundQueues } from '../../support/sound-queues.ts';
import { type Connection, decide, enqueueItem, makeQueues, onQueue, rowsOf, take } from '../../support/sql-verbs.ts';

const request = { queue: 'q', max: 2, request_id: 'r', holder: 'w' };

async function queueOf(on: Connection, ...ids: readonly string[]): Promise<void> {
  await makeQueues(on, ['q'], { concurrency_limit: null });
  await decide(
    on,
    ids.map((id) => enqueueItem('q', id)),
  );
}

/** What a replica does with a run whose taker hung up before it was answered. */
async function giveBack(on: Connection, claimId: string, token: number, requestId = 'r'): Promise<string | undefined> {
  const item = { op: 'return', queue: 'q', claim_id: claimId, fencing_token: token, request_id: requestId };
  const answers = await decide(on, [item], { wait: true });
  return answers.find((answer) => answer.item === 0)?.code;
}
const takeTokens = async (on: Connection, item: object = request) =>
  (await take(on, { ...request, ...item })).claims.map(({ body }) => body.fencing_token);
const requests = async (on: Connection) =>
  (await rowsOf<{ request_id: string }>(on, 'select request_id from signalbox.takes')).map((row) => row.request_id);

test('a run that went out with the answer to a repeat is not given back: it stays held under its token', async () => {
  await using db = await freshDatabase();
  await queueOf(db, 'a');
  const [token = 0] = await takeTokens(db);
  expect(await take(db, request)).toMatchObject({ ids: ['a'], repeated: true });
  expect(await giveBack(db, 'a', token)).toBe('not_released');
  expect(await onQueue(db, 'q').held()).toEqual(['a']);
  expect((await onQueue(db, 'q').renew('a', token)).code).toBe('renewed');
  expect((await take(db, request)).ids).toEqual(['a']);
  await expectSoundQueues(db);
});

test('nor while the repeat that gives it is not committed: the return waits for it', async () => {
  await using db = await freshDatabase();
  await waitPatiently(db);
  await queueOf(db, 'a');
  const [token = 0] = await takeTokens(db);
  const [repeater, returner] = [await openRacer(db), await openRacer(db)];
  await repeater.client.query('begin');
  expect((await take(repeater.client, request)).ids).toEqual(['a']);
  const returned = giveBack(returner.client, 'a', token);
  await returner.isBlocked();
  await repeater.client.query('commit');
  expect(await returned).toBe('not_released');
  expect((await onQueue(db, 'q').renew('a', token)).code).toBe('renewed');
});

test('and a repeat beside a return that is not committed waits for it, and gives nothing that went back', async () => {
  await using db = await freshDatabase();
  await waitPatiently(db);
  await queueOf(db, 'a', 'b');
  const [a = 0] = await takeTokens(db);
  const [repeater, returner] = [await openRacer(db), await openRacer(db)];
  await returner.client.query('begin');
  expect(await giveBack(returner.client, 'a', a)).toBe('released');
  const repeat = take(repeater.client, request);
  await repeater.isBlocked();
  await returner.client.query('commit');
  expect(await repeat).toMatchObject({ ids: ['b'], repeated: true });
  expect(await onQueue(db, 'q').held()).toEqual(['b']);
});

test('a repeat whose request is forgotten while it looks is a request like a first one, and is remembered', async () => {
  await using db = await freshDatabase();
  await waitPatiently(db);
  await queueOf(db, 'a', 'b');
  const [token = 0] = await takeTokens(db, { max: 1 });
  // The repeat stops after it found that the request is there, and before it reads what that was for.
  await db.query(`create function signalbox.stop_here() returns trigger language plpgsql as $$
    begin
      perform pg_advisory_lock_shared(7);
      perform pg_advisory_unlock_shared(7);
      return null;
    end $$`);
  await db.query(`create trigger stops after insert on signalbox.takes
    for each statement execute function signalbox.stop_here()`);
  const [keeper, repeater] = [await openRacer(db), await openRacer(db)];
  await keeper.client.query('select pg_advisory_lock(7)');
  const repeat = take(repeater.client, request);
  await repeater.isBlocked();
  expect(await giveBack(db, 'a', token)).toBe('released');
  await keeper.client.query('select pg_advisory_unlock(7)');
  expect(await repeat).toMatchObject({ ids: ['a', 'b'], repeated: false });
  expect(await take(db, request)).toMatchObject({ ids: ['a', 'b'], repeated: true });
});

test('without a repeat the run goes back, and the request was never made', async () => {
  await using db = await freshDatabase();
  await queueOf(db, 'a');
  const [token = 0] = await takeTokens(db);
  expect(await giveBack(db, 'a', token)).toBe('released');
  expect([await onQueue(db, 'q').line('run'), await requests(db)]).toEqual([['a'], []]);
  const again = await take(db, request);
  expect(again).toMatchObject({ ids: ['a'], repeated: false });
  expect(again.claims[0]?.body.attempt).toBe(1);
  await expectSoundQueues(db);
});

test('of two runs one after another goes back, and the request is forgotten with the second', async () => {
  await using db = await freshDatabase();
  await queueOf(db, 'a', 'b');
  const [a = 0, b = 0] = await takeTokens(db);
  expect([await giveBack(db, 'a', a), await requests(db)]).toEqual(['released', ['r']]);
  expect([await giveBack(db, 'b', b), await requests(db)]).toEqual(['released', []]);
  expect(await onQueue(db, 'q').line('run')).toEqual(['a', 'b']);
  await expectSoundQueues(db);
});

test('a repeat after the first of two went back gives the second only, which then stays where it is', async () => {
  await using db = await freshDatabase();
  await queueOf(db, 'a', 'b');
  const [a = 0, b = 0] = await takeTokens(db);
  await giveBack(db, 'a', a);
  expect(await take(db, request)).toMatchObject({ ids: ['b'], repeated: true });
  expect(await giveBack(db, 'b', b)).toBe('not_released');
  expect([await onQueue(db, 'q').held(), await onQueue(db, 'q').line('run')]).toEqual([['b'], ['a']]);
  await expectSoundQueues(db);
});

test('a run that the request, made again since, did not give is not given back under its name', async () => {
  await using db = await freshDatabase();
  await queueOf(db, 'a', 'b');
  const [a = 0] = await takeTokens(db, { max: 1, request_id: 'other' });
  const [b = 0] = await takeTokens(db, { max: 1 });
  expect(await giveBack(db, 'a', a)).toBe('not_released');
  expect(await onQueue(db, 'q').held()).toEqual(['a', 'b']);
  expect(await giveBack(db, 'a', a, 'never made')).toBe('not_released');
  // The same run by a later grant is not what the request gave either.
  await giveBack(db, 'b', b);
  const [later = 0] = await takeTokens(db, { max: 1, request_id: 'later' });
  expect(await giveBack(db, 'b', later)).toBe('not_released');
  expect([await onQueue(db, 'q').held(), (await requests(db)).sort()]).toEqual([
    ['a', 'b'],
    ['later', 'other'],
  ]);
  await expectSoundQueues(db);
});

test('a repeat leaves out the leases that ran out, also those that nobody has ended yet', async () => {
  await using db = await freshDatabase();
  await queueOf(db, 'a', 'b');
  const [, b = 0] = await takeTokens(db, { ttl_ms: 30_000 });
  await onQueue(db, 'q').renew('b', b, 120_000);
  await moveClock(db, 31_000);
  expect(await onQueue(db, 'q').held()).toEqual(['a', 'b']);
  expect(await take(db, request)).toMatchObject({ ids: ['b'], repeated: true });
});
