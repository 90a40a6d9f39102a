import { expect, test } from 'vitest';
import { openRacer, waitPatiently } from '../../support/blocked.ts';
import { moveClock } from '../../support/database-clock.ts';
import { freshDatabase } from '../../support/database.ts';
import { expectSoundQueues } from '../../support/sound-queues.ts';
import { decide, enqueueItem, makeQueues, onQueue, rowsOf, take, takeAll } from '../../support/sql-verbs.ts';

const request = { queue: 'q', max: 3, request_id: 'r', holder: 'w' };

async function queueOf(db: Parameters<typeof decide>[0], ...ids: readonly string[]): Promise<void> {
  await makeQueues(db, ['q'], { concurrency_limit: null });
  await decide(
    db,
    ids.map((id) => enqueueItem('q', id, { payload: `"${id}"` })),
  );
}

test('the same request again gives the same claims that are still held, with their tokens, and nothing new', async () => {
  await using db = await freshDatabase();
  await queueOf(db, 'a', 'b', 'c', 'd', 'e');
  const first = await take(db, request);
  expect([first.ids, first.repeated]).toEqual([['a', 'b', 'c'], false]);
  const tokens = first.claims.map(({ body }) => body.fencing_token);
  const again = await take(db, { ...request, max: 5 });
  expect([again.ids, again.repeated, again.more]).toEqual([['a', 'b', 'c'], true, false]);
  expect(again.claims.map(({ body }) => [body.fencing_token, body.payload])).toEqual(
    tokens.map((token, index) => [token, first.claims[index]?.body.payload]),
  );
  await onQueue(db, 'q').release('b', tokens[1] ?? 0);
  // Held again, but by another grant: the answer to this request would give away a token it never had.
  await onQueue(db, 'q').release('c', tokens[2] ?? 0, { outcome: 'retry', retry_after_ms: 0 });
  expect((await take(db, { queue: 'q', holder: 'w', max: 1 })).ids).toEqual(['c']);
  expect((await take(db, request)).ids).toEqual(['a']);
  expect((await take(db, { ...request, holder: 'other' })).ids).toEqual(['d', 'e']);
  await expectSoundQueues(db);
});

test('of two calls with one request at the same time, the second waits for the first and gives the same', async () => {
  await using db = await freshDatabase();
  await waitPatiently(db);
  await queueOf(db, 'a', 'b', 'c', 'd');
  const [first, second] = [await openRacer(db), await openRacer(db)];
  await first.client.query('begin');
  expect((await take(first.client, request)).ids).toEqual(['a', 'b', 'c']);
  const waited = take(second.client, request);
  await second.isBlocked();
  await first.client.query('commit');
  expect(await waited).toMatchObject({ ids: ['a', 'b', 'c'], repeated: true });
});

test.each([
  ['of a queue', { queue: 'q' }],
  ['of a prefix', { prefix: 'q' }],
])(
  'a repeat %s that finds nothing left, because the first call has just taken all, gives what that took',
  async (_, source) => {
    await using db = await freshDatabase();
    await waitPatiently(db);
    await queueOf(db, 'a');
    const again = { ...source, max: 3, request_id: 'r', holder: 'w' };
    // The repeat stops between its two questions, what there is to give and whether it was asked before.
    await db.query('alter function signalbox.may_give(text, text) rename to may_give_as_it_is');
    await db.query(`create function signalbox.may_give(p_queue text, p_prefix text) returns boolean
    language plpgsql volatile as $$
    begin
      perform pg_advisory_lock_shared(7);
      perform pg_advisory_unlock_shared(7);
      return signalbox.may_give_as_it_is(p_queue, p_prefix);
    end $$`);
    const [keeper, first, second] = [await openRacer(db), await openRacer(db), await openRacer(db)];
    await first.client.query('begin');
    expect((await take(first.client, again)).ids).toEqual(['a']);
    await keeper.client.query('select pg_advisory_lock(7)');
    const repeat = take(second.client, again);
    await second.isBlocked();
    await first.client.query('commit');
    await keeper.client.query('select pg_advisory_unlock(7)');
    expect(await repeat).toMatchObject({ ids: ['a'], repeated: true });
  },
);

test('after a repeat, the call that still goes on is given nothing more', async () => {
  await using db = await freshDatabase();
  await queueOf(db, 'a', 'b', 'c', 'd');
  expect((await take(db, { ...request, max: 1 })).ids).toEqual(['a']);
  expect((await take(db, { ...request, max: 1, continues: true })).ids).toEqual(['b']);
  expect((await take(db, request)).ids).toEqual(['a', 'b']);
  expect(await take(db, { ...request, max: 1, continues: true })).toMatchObject({ ids: [], repeated: true });
  expect(await onQueue(db, 'q').line('run')).toEqual(['c', 'd']);
});

test('an answer without claims is not remembered', async () => {
  await using db = await freshDatabase();
  await queueOf(db);
  for (const source of [request, { ...request, queue: undefined, prefix: '' }]) {
    expect(await take(db, source)).toMatchObject({ ids: [], repeated: false });
    expect(await rowsOf(db, 'select * from signalbox.takes')).toEqual([]);
  }
  await onQueue(db, 'q').configure({ paused: true });
  await onQueue(db, 'q').enqueue('a');
  expect((await take(db, request)).ids).toEqual([]);
  await onQueue(db, 'q').configure({ paused: false });
  expect(await take(db, request)).toMatchObject({ ids: ['a'], repeated: false });
});

test('the claims of one request that ran out are not given again by it', async () => {
  await using db = await freshDatabase();
  await queueOf(db, 'a', 'b');
  await take(db, { ...request, max: 1 });
  await moveClock(db, 31_000);
  await onQueue(db, 'q').advance();
  expect((await take(db, request)).ids).toEqual([]);
  expect((await take(db, { ...request, request_id: 'r2' })).ids).toEqual(['a', 'b']);
});

test('several requests of one call are served one after another, each by its own rules', async () => {
  await using db = await freshDatabase();
  await queueOf(db, 'a', 'b', 'c');
  const answers = await takeAll(db, [
    { queue: 'q', max: 1, request_id: 'r' },
    { prefix: '', max: 1, holder: 'other' },
    { queue: 'q', max: 1, request_id: 'r' },
    { queue: 'nowhere' },
    { queue: 'q', max: 9 },
  ]);
  expect(answers.map(({ ids, repeated }) => [ids, repeated])).toEqual([
    [['a'], false],
    [['b'], false],
    [['a'], true],
    [[], false],
    [['c'], false],
  ]);
  expect(answers[3]?.others).toContainEqual(expect.objectContaining({ item: 3, code: 'queue_not_found' }));
});

test('a run given back was never taken: its attempt does not count, and it stands at its old place', async () => {
  await using db = await freshDatabase();
  await queueOf(db, 'a', 'b');
  const queue = onQueue(db, 'q');
  const { claims } = await queue.take();
  const token = claims[0]?.body.fencing_token ?? 0;
  expect((await queue.giveBack('a', token + 1)).code).toBe('not_released');
  expect((await queue.giveBack('a', token)).code).toBe('released');
  expect((await queue.giveBack('a', token)).code).toBe('not_released');
  const again = await queue.take(2);
  expect(again.claims.map(({ claim_id, body }) => [claim_id, body.attempt])).toEqual([
    ['a', 1],
    ['b', 1],
  ]);
  expect(await queue.renew('a', token)).toMatchObject({ code: 'lease_lost' });
  await expectSoundQueues(db);
});
