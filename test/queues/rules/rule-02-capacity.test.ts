import { expect, test } from 'vitest';
import { openRacer, waitPatiently } from '../../support/blocked.ts';
import { moveClock } from '../../support/database-clock.ts';
import { freshDatabase } from '../../support/database.ts';
import { makeQueues, onQueue, rowsOf } from '../../support/sql-verbs.ts';

const aDayMs = 86_400_000;

test('a lease being renewed while its takeover is decided stays held, and the waiter stays waiting', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q']);
  const queue = onQueue(db, 'q');
  const [token = 0] = await queue.hold('a');
  await moveClock(db, 31_000);
  const renewer = await openRacer(db);

  await renewer.client.query('begin');
  expect((await onQueue(renewer.client, 'q').renew('a', token)).code).toBe('renewed');
  expect((await queue.acquire('b')).code).toBe('waiting');
  expect(await queue.advance()).toEqual([]);
  await renewer.client.query('commit');

  expect(await queue.advance()).toEqual([]);
  expect([await queue.held(), await queue.line()]).toEqual([['a'], ['b']]);
  await queue.release('a', token);
  expect([await queue.held(), await queue.line()]).toEqual([['b'], []]);
});

test('a renewal that is rolled back during a takeover gives the place to the waiter at the next decision', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q']);
  const queue = onQueue(db, 'q');
  const [token = 0] = await queue.hold('a');
  await moveClock(db, 31_000);
  const renewer = await openRacer(db);

  await renewer.client.query('begin');
  await onQueue(renewer.client, 'q').renew('a', token);
  await queue.acquire('b');
  await renewer.client.query('rollback');

  expect((await queue.advance()).map(({ code, claim_id }) => [code, claim_id])).toEqual([
    ['ended', 'a'],
    ['held', 'b'],
  ]);
});

test('an acquire of a claim whose expired lease is being renewed is told to ask again, not that it holds', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q']);
  const queue = onQueue(db, 'q');
  const [token = 0] = await queue.hold('a');
  await moveClock(db, 31_000);
  const renewer = await openRacer(db);

  await renewer.client.query('begin');
  await onQueue(renewer.client, 'q').renew('a', token);
  expect((await queue.acquire('a')).code).toBe('line_busy');
  await renewer.client.query('commit');
  expect((await queue.acquire('a')).body).toMatchObject({ state: 'held', fencing_token: token });
});

test.each(['narrow', 'wide'])(
  'a %s queue counts an expired lease as held until its row has been ended',
  async (width) => {
    await using db = await freshDatabase();
    await makeQueues(db, ['q'], width === 'wide' ? { concurrency_limit: null } : { concurrency_limit: 2 });
    const queue = onQueue(db, 'q');
    await queue.configure({ concurrency_limit: 2 });
    await queue.hold('a', 'b');
    await moveClock(db, 31_000);
    const keeper = await openRacer(db);

    // Somebody has the rows, so nobody can end them: no place is inferred from the time alone.
    await keeper.client.query('begin');
    await keeper.client.query('select from signalbox.leases for no key update');
    expect((await queue.acquire('c')).code).toBe('waiting');
    expect(await queue.advance()).toEqual([]);
    await keeper.client.query('commit');

    expect((await queue.advance()).map(({ code }) => code)).toEqual(['ended', 'ended', 'held']);
    expect(await queue.held()).toEqual(['c']);
  },
);

test.each(['narrow', 'wide'])(
  'lowering the limit of a %s queue admits nobody until held is below it',
  async (width) => {
    await using db = await freshDatabase();
    await makeQueues(db, ['q'], width === 'wide' ? { concurrency_limit: null } : {});
    const queue = onQueue(db, 'q');
    await queue.configure({ concurrency_limit: 5 });
    const [a = 0, b = 0, c = 0, d = 0] = await queue.hold('a', 'b', 'c', 'd', 'e');
    for (const [claimId, token] of [
      ['a', a],
      ['b', b],
    ] as const)
      await queue.release(claimId, token);

    await queue.configure({ concurrency_limit: 2 });
    expect((await queue.acquire('f')).code).toBe('waiting');
    await queue.release('c', c);
    expect(await queue.held()).toEqual(['d', 'e']);
    await queue.release('d', d);
    expect((await queue.held()).sort()).toEqual(['e', 'f']);
  },
);

test('an expired lease goes to the head of the line, not to the newcomer that found it', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q']);
  const queue = onQueue(db, 'q');
  await queue.hold('a');
  await queue.acquire('b');
  await moveClock(db, 31_000);

  expect((await queue.acquire('newcomer', { priority: 0 })).code).toBe('waiting');
  expect([await queue.held(), await queue.line()]).toEqual([['b'], ['newcomer']]);
});

test('an expired lease is not barged by skip_if_busy', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q']);
  const queue = onQueue(db, 'q');
  await queue.hold('a');
  await queue.acquire('b');
  await moveClock(db, 31_000);

  expect((await queue.acquire('newcomer', { mode: 'skip_if_busy' })).code).toBe('queue_busy');
  expect(await queue.held()).toEqual(['b']);
});

test('two advances at once grant one place once', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q']);
  await onQueue(db, 'q').hold('a');
  await onQueue(db, 'q').acquire('b');
  await onQueue(db, 'q').acquire('c');
  await moveClock(db, 31_000);
  const [first, second] = [await openRacer(db), await openRacer(db)];

  await first.client.query('begin');
  const granted = await onQueue(first.client, 'q').advance();
  expect(granted.map(({ code, claim_id }) => [code, claim_id])).toEqual([
    ['ended', 'a'],
    ['held', 'b'],
  ]);
  expect(await onQueue(second.client, 'q').advance()).toEqual([]);
  await first.client.query('commit');

  expect(await onQueue(second.client, 'q').advance()).toEqual([]);
  expect([await onQueue(db, 'q').held(), await onQueue(db, 'q').line()]).toEqual([['b'], ['c']]);
});

test('two waited-for acquires of one expired lease make one holder', async () => {
  await using db = await freshDatabase();
  await waitPatiently(db);
  await makeQueues(db, ['q']);
  await onQueue(db, 'q').hold('a');
  await moveClock(db, 31_000);
  const [first, second] = [await openRacer(db), await openRacer(db)];

  await first.client.query('begin');
  expect((await onQueue(first.client, 'q').acquire('b')).code).toBe('held');
  const waited = onQueue(second.client, 'q').acquire('c', { wait: true });
  await second.isBlocked();
  await first.client.query('commit');

  expect((await waited).code).toBe('waiting');
  expect(await onQueue(db, 'q').held()).toEqual(['b']);
});

test.each(['narrow', 'wide'])(
  'acquire takes over an expired lease of a %s queue when no leader ever was',
  async (width) => {
    await using db = await freshDatabase();
    await makeQueues(db, ['q'], width === 'wide' ? { concurrency_limit: null } : {});
    const queue = onQueue(db, 'q');
    await queue.configure({ concurrency_limit: 1 });
    const [token = 0] = await queue.hold('a');
    await moveClock(db, 31_000);

    const taken = await queue.acquire('b');
    expect(taken).toMatchObject({ code: 'held', body: { slot: 1 } });
    expect(taken.body.fencing_token).toBeGreaterThan(token);
    expect(await rowsOf(db, 'select * from signalbox.terms')).toEqual([]);
    const [ended] = await rowsOf(db, `select claim_id, state, reason from signalbox.history where final`);
    expect(ended).toEqual({ claim_id: 'a', state: 'expired', reason: 'expired' });
  },
);

test('a broken lease keeps its place for the lock delay, and the line moves when that is over', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['narrow', 'wide'], { lock_delay_ms: 5000 });
  await onQueue(db, 'wide').configure({ concurrency_limit: null });
  await onQueue(db, 'wide').configure({ concurrency_limit: 1 });
  for (const name of ['narrow', 'wide']) {
    const queue = onQueue(db, name);
    await queue.hold('a');
    await queue.break('a');
    expect((await queue.acquire('b')).code).toBe('waiting');
  }
  expect((await onQueue(db, 'narrow').look('b')).body.waiting_for).toBe('lock_delay');
  await moveClock(db, 5100);
  for (const name of ['narrow', 'wide']) {
    expect((await onQueue(db, name).advance()).map(({ code, body }) => [code, body.slot])).toEqual([['held', 1]]);
  }
});

test('no claim is left held without a lease, nor in two places, whatever the day', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q'], { concurrency_limit: 2 });
  await onQueue(db, 'q').hold('a', 'b');
  await onQueue(db, 'q').acquire('c');
  await moveClock(db, aDayMs);
  await onQueue(db, 'q').advance();
  const states = await rowsOf(
    db,
    `select claim_id, 'held' as state from signalbox.leases where state = 'held'
     union all select claim_id, 'waiting' from signalbox.waiting
     union all select claim_id, state from signalbox.history where final order by 1`,
  );
  expect(states).toEqual([
    { claim_id: 'a', state: 'expired' },
    { claim_id: 'b', state: 'expired' },
    { claim_id: 'c', state: 'held' },
  ]);
});
