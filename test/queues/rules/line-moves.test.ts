import { expect, test } from 'vitest';
import { openRacer, waitPatiently } from '../../support/blocked.ts';
import { moveClock } from '../../support/database-clock.ts';
import { freshDatabase } from '../../support/database.ts';
import { acquireItem, decide, makeQueues, onQueue, oneOf, releaseItem, rowsOf } from '../../support/sql-verbs.ts';

test.each(['release before acquire', 'acquire before release'])(
  'a claim that arrives while the place is given up gets it without the reaper: %s',
  async (order) => {
    await using db = await freshDatabase();
    await waitPatiently(db);
    await makeQueues(db, ['q']);
    const [token = 0] = await onQueue(db, 'q').hold('a');
    const [first, second] = [await openRacer(db), await openRacer(db)];
    const release = releaseItem('q', 'a', token);
    const acquire = acquireItem('q', 'b');
    const [early, late] = order.startsWith('release') ? [release, acquire] : [acquire, release];

    await first.client.query('begin');
    await decide(first.client, [early]);
    const waited = decide(second.client, [late], { wait: true });
    await second.isBlocked();
    await first.client.query('commit');
    await waited;

    expect([await onQueue(db, 'q').held(), await onQueue(db, 'q').line()]).toEqual([['b'], []]);
  },
);

test('a raised limit, a lifted pause and a break give the places to the line in the same commit', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q'], { concurrency_limit: 0 });
  const queue = onQueue(db, 'q');
  for (const claim of ['a', 'b', 'c', 'd']) expect((await queue.acquire(claim)).code).toBe('waiting');
  expect((await queue.look('a')).body.waiting_for).toBe('limit_zero');
  await queue.configure({ concurrency_limit: 2 });
  expect(await queue.held()).toEqual(['a', 'b']);
  await queue.break('a');
  expect((await queue.held()).sort()).toEqual(['b', 'c']);
  await queue.configure({ paused: true, concurrency_limit: 5 });
  expect((await queue.look('d')).body.waiting_for).toBe('paused');
  expect(await queue.advance()).toEqual([]);
  await queue.configure({ paused: false });
  expect((await queue.held()).sort()).toEqual(['b', 'c', 'd']);
});

test('an advance moves at most about so many claims, and the next one goes on', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q'], { paused: true, concurrency_limit: 200 });
  const queue = onQueue(db, 'q');
  await decide(
    db,
    Array.from({ length: 150 }, (_, index) => acquireItem('q', `${index}`)),
  );
  await queue.configure({ paused: false });
  expect(await queue.held()).toHaveLength(100);
  expect(await queue.advance()).toHaveLength(50);
  expect(await queue.held()).toHaveLength(150);
});

test('latest_only ends only waiting latest_only claims of the same queue that are older and not of higher priority', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q', 'other']);
  const queue = onQueue(db, 'q');
  await queue.acquire('held', { mode: 'latest_only' });
  await onQueue(db, 'other').hold('holder');
  await onQueue(db, 'other').acquire('elsewhere', { mode: 'latest_only' });
  await queue.acquire('patient');
  await queue.acquire('higher', { mode: 'latest_only', priority: 2 });
  await queue.acquire('lower', { mode: 'latest_only', priority: 0 });
  expect(await queue.line()).toEqual(['higher', 'patient', 'lower']);

  await queue.acquire('equal', { mode: 'latest_only', priority: 0 });
  const answers = await decide(db, [acquireItem('q', 'newest', { mode: 'latest_only', priority: 1 })]);
  expect(answers.map(({ item, code, claim_id }) => [item, code, claim_id])).toEqual([
    [null, 'ended', 'equal'],
    [0, 'waiting', 'newest'],
  ]);
  expect(await queue.look('equal')).toMatchObject({
    code: 'ended',
    body: { state: 'superseded', reason: 'superseded' },
  });
  expect([await queue.held(), await queue.line()]).toEqual([['held'], ['higher', 'newest', 'patient']]);
  expect(await onQueue(db, 'other').line()).toEqual(['elsewhere']);
});

test('skip_if_busy is queue_busy on a full, a paused and a closed queue, and leaves no claim', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q']);
  const queue = onQueue(db, 'q');
  expect((await queue.acquire('a', { mode: 'skip_if_busy' })).code).toBe('held');
  expect((await queue.acquire('b', { mode: 'skip_if_busy' })).code).toBe('queue_busy');
  for (const settings of [
    { paused: true, concurrency_limit: 5 },
    { paused: false, concurrency_limit: 0 },
  ]) {
    await queue.configure(settings);
    expect((await queue.acquire('b', { mode: 'skip_if_busy' })).code).toBe('queue_busy');
  }
  expect((await queue.look('b')).code).toBe('claim_not_found');
  expect(await rowsOf(db, 'select * from signalbox.waiting')).toEqual([]);
});

test('queue_busy says what a newcomer would wait for', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['held', 'rests', 'cleaned', 'own'], { lock_delay_ms: 60_000 });
  const busyFor = async (name: string) => {
    const { code, body } = await onQueue(db, name).acquire('newcomer', { mode: 'skip_if_busy' });
    return [code, body.waiting_for];
  };
  await onQueue(db, 'held').hold('a');
  await onQueue(db, 'rests').hold('a');
  await onQueue(db, 'rests').break('a');
  await onQueue(db, 'cleaned').configure({ cleanup: true });
  const [token = 0] = await onQueue(db, 'cleaned').hold('a');
  await onQueue(db, 'cleaned').release('a', token);
  expect(await busyFor('held')).toEqual(['queue_busy', 'no_free_slot']);
  expect(await busyFor('rests')).toEqual(['queue_busy', 'lock_delay']);
  expect(await busyFor('cleaned')).toEqual(['queue_busy', 'cleanup']);
  const joint = await onQueue(db, 'own').acquire('j', { mode: 'skip_if_busy', also: [{ queue: 'cleaned' }] });
  expect(joint).toMatchObject({ code: 'queue_busy', queue: 'cleaned', body: { waiting_for: 'cleanup' } });
  await onQueue(db, 'held').acquire('waits');
  expect(await busyFor('held')).toEqual(['queue_busy', 'behind_others']);
});

test('a line at its bound refuses more and keeps what it has', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q'], { max_waiting: 1 });
  const queue = onQueue(db, 'q');
  await queue.hold('a');
  expect((await queue.acquire('b')).code).toBe('waiting');
  expect((await queue.acquire('c')).code).toBe('queue_full');
  expect((await queue.acquire('b')).code).toBe('waiting');
  expect((await queue.look('c')).code).toBe('claim_not_found');
  expect(await oneOf(db, 'select waiting from signalbox.lines')).toEqual({ waiting: 1 });
});

test('a waiting claim that is cancelled or broken leaves the line, and its place closes up', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q']);
  const queue = onQueue(db, 'q');
  await queue.hold('a');
  for (const claim of ['b', 'c', 'd']) await queue.acquire(claim);
  expect((await queue.cancel('b')).code).toBe('cancelled');
  expect((await queue.break('c')).code).toBe('broken');
  expect((await queue.look('d')).body.position).toBe(1);
  expect((await queue.cancel('b')).code).toBe('already_ended');
  expect((await queue.acquire('b')).code).toBe('claim_ended');
});

test('a cancel of a claim that has run out ends no other in passing: what others come to is told', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q'], { concurrency_limit: 2 });
  const queue = onQueue(db, 'q');
  await queue.acquire('a', { ttl_ms: 1000 });
  await queue.acquire('b', { ttl_ms: 1000 });
  await queue.acquire('c');
  await moveClock(db, 2000);
  const told = await decide(db, [{ op: 'cancel', queue: 'q', claim_id: 'a' }]);
  expect(told.map(({ code, claim_id: claim }) => [code, claim])).toEqual([
    ['already_ended', 'a'],
    ['ended', 'b'],
    ['held', 'c'],
  ]);
});

test('cancelling a lease that is being renewed past its expiry still gives other places to the line', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q'], { concurrency_limit: 2 });
  const queue = onQueue(db, 'q');
  await waitPatiently(db);
  const [token = 0] = await queue.hold('a', 'b');
  await queue.acquire('c');
  await moveClock(db, 31_000);
  const [renewer, canceller] = [await openRacer(db), await openRacer(db)];
  await renewer.client.query('begin');
  await onQueue(renewer.client, 'q').renew('a', token);
  const cancelled = onQueue(canceller.client, 'q').cancel('a');
  await canceller.isBlocked();
  await renewer.client.query('commit');
  expect((await cancelled).code).toBe('release_requested');
  expect((await queue.held()).sort()).toEqual(['a', 'c']);
});

test('deleting a queue in use is refused, and forced it ends holders and line as broken', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q']);
  const queue = onQueue(db, 'q');
  const [token = 0] = await queue.hold('a');
  await queue.acquire('b');
  expect((await queue.delete()).map(({ code, body }) => [code, body])).toEqual([
    ['queue_in_use', { held: 1, waiting: 1, delayed: 0, dead_letters: 0, dirty: 0 }],
  ]);
  expect((await queue.delete({ force: true })).map(({ code, claim_id }) => [code, claim_id])).toEqual([
    ['ended', 'a'],
    ['ended', 'b'],
    ['deleted', null],
  ]);
  expect(await queue.renew('a', token)).toMatchObject({ code: 'lease_lost', body: { reason: 'broken' } });
  expect(await queue.release('a', token)).toMatchObject({ code: 'not_released', body: { reason: 'broken' } });
  expect((await queue.acquire('c')).code).toBe('queue_not_found');
});

test('an acquire that waited for the line of a queue being deleted is told that it is gone', async () => {
  await using db = await freshDatabase();
  await waitPatiently(db);
  await makeQueues(db, ['q']);
  const [deleter, asker] = [await openRacer(db), await openRacer(db)];
  await deleter.client.query('begin');
  await onQueue(deleter.client, 'q').delete();
  const asked = onQueue(asker.client, 'q').acquire('a', { wait: true });
  await asker.isBlocked();
  await deleter.client.query('commit');
  expect((await asked).code).toBe('queue_not_found');
  expect(await rowsOf(db, 'select * from signalbox.leases')).toEqual([]);
});
