import { expect, test } from 'vitest';
import { openRacer, waitPatiently } from '../../support/blocked.ts';
import { moveClock } from '../../support/database-clock.ts';
import { freshDatabase, type TestDatabase } from '../../support/database.ts';
import { expectSoundQueues } from '../../support/sound-queues.ts';
import { type Answer, makeQueues, onQueue, rowsOf } from '../../support/sql-verbs.ts';

const also = (...queues: string[]) => ({ also: queues.map((queue) => ({ queue })) });

async function heldIn(db: TestDatabase) {
  const rows = await rowsOf<{ place: string }>(
    db,
    `select queue || ':' || claim_id as place from signalbox.leases where state = 'held' order by queue, slot`,
  );
  return rows.map(({ place }) => place);
}

/** What a replica does with `stir`. */
function advanceTogether(db: TestDatabase, queues: readonly string[]): Promise<Answer[]> {
  return rowsOf<Answer>(db, 'select * from signalbox_v1.advance($1, 100, true)', [queues]);
}

test('a line that is busy when the last place comes free is asked for again, and then all are granted', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['a', 'b']);
  const [a, b] = [onQueue(db, 'a'), onQueue(db, 'b')];
  const [token = 0] = await a.hold('h');
  await b.acquire('j', also('a'));
  const other = await openRacer(db);
  await other.client.query('begin');
  await other.client.query(`select from signalbox.lines where queue = 'b' for no key update`);
  const answers = await rowsOf<Answer>(db, 'select * from signalbox_v1.decide($1)', [
    JSON.stringify([{ op: 'release', queue: 'a', claim_id: 'h', fencing_token: token }]),
  ]);
  expect(answers.map(({ code, body }) => [code, (body as { queues?: unknown }).queues])).toEqual([
    ['released', undefined],
    ['stir', ['a', 'b']],
  ]);
  // Nobody passes meanwhile.
  expect((await a.acquire('single')).code).toBe('waiting');
  expect(await heldIn(db)).toEqual([]);
  await other.client.query('commit');
  expect((await advanceTogether(db, ['a', 'b'])).map(({ code, claim_id }) => [code, claim_id])).toEqual([
    ['held', 'j'],
  ]);
  expect(await heldIn(db)).toEqual(['a:j', 'b:j']);
  await expectSoundQueues(db);
});

test.each([
  ['release', 'released'],
  ['break', 'broken'],
  ['expiry', 'expired'],
])('%s with a busy other line leaves a loose end, which whoever has the line next ties', async (how, reason) => {
  await using db = await freshDatabase();
  await makeQueues(db, ['a', 'b']);
  const [a, b] = [onQueue(db, 'a'), onQueue(db, 'b')];
  const held = await a.acquire('j', also('b'));
  const other = await openRacer(db);
  await other.client.query('begin');
  await other.client.query(`select from signalbox.lines where queue = 'b' for no key update`);
  if (how === 'release') await a.release('j', held.body.fencing_token);
  else if (how === 'break') await a.break('j');
  else {
    await moveClock(db, 31_000);
    await a.advance();
  }
  expect(await heldIn(db)).toEqual(['b:j']);
  expect(await rowsOf(db, 'select queue, reason from signalbox.loose_ends')).toEqual([{ queue: 'b', reason }]);
  await other.client.query('commit');
  // Its renewal finds it gone, and a place of its own cannot be renewed alone.
  expect((await a.renew('j', held.body.fencing_token)).code).toBe('lease_lost');
  expect((await b.acquire('next')).code).toMatch(/held|waiting/);
  await advanceTogether(db, ['b']);
  expect(await heldIn(db)).toEqual(['b:next']);
  expect((await b.look('j')).body).toMatchObject({ reason, primary: 'a' });
  expect(await rowsOf(db, 'select from signalbox.loose_ends')).toEqual([]);
  await expectSoundQueues(db);
});

test('a ticket whose claim was cancelled while its line was busy is granted to nobody', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['a', 'b']);
  const [a, b] = [onQueue(db, 'a'), onQueue(db, 'b')];
  const [token = 0] = await b.hold('h');
  await a.acquire('j', also('b'));
  await b.acquire('next');
  const other = await openRacer(db);
  await other.client.query('begin');
  await other.client.query(`select from signalbox.lines where queue = 'b' for no key update`);
  await a.cancel('j');
  expect(await b.line()).toEqual(['j', 'next']);
  await other.client.query('rollback');
  await b.release('h', token);
  expect(await heldIn(db)).toEqual(['b:next']);
  expect(await b.line()).toEqual([]);
  await expectSoundQueues(db);
});

test('two claims asked for at the same time in opposite order do not wait for each other: one is told to ask again', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['a', 'b']);
  const [one, two] = [await openRacer(db), await openRacer(db)];
  await one.client.query('begin');
  expect((await onQueue(one.client, 'a').acquire('x', also('b'))).code).toBe('held');
  expect((await onQueue(two.client, 'b').acquire('y', also('a'))).code).toBe('line_busy');
  await waitPatiently(db);
  await db.query(`alter function signalbox.await_lines set lock_timeout = '20s'`);
  const waited = onQueue(two.client, 'b').acquire('y', { ...also('a'), wait: true });
  await two.isBlocked();
  await one.client.query('commit');
  expect((await waited).code).toBe('waiting');
  expect(await heldIn(db)).toEqual(['a:x', 'b:x']);
  await expectSoundQueues(db);
});

test('of two that stand before each other in some line the older is granted, and it keeps from the younger', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['a', 'b'], { reserve_max_ms: 10_000 });
  const [a, b] = [onQueue(db, 'a'), onQueue(db, 'b')];
  const [inA = 0] = await a.hold('ha');
  const [inB = 0] = await b.hold('hb');
  await a.acquire('old', also('b'));
  await b.acquire('young', also('a'));
  // As if priorities or rotations of the two queues had put them so.
  await db.query(`update signalbox.waiting set place = -5 where queue = 'b' and claim_id = 'young'`);
  await a.release('ha', inA);
  await b.release('hb', inB);
  expect(await heldIn(db)).toEqual(['a:old', 'b:old']);
});

test('its places are renewed together: one that is being ended makes the renewal lost, and none is extended', async () => {
  await using db = await freshDatabase();
  await waitPatiently(db);
  await makeQueues(db, ['a', 'b']);
  const a = onQueue(db, 'a');
  const held = await a.acquire('j', also('b'));
  await moveClock(db, 31_000);
  const [ender, renewer] = [await openRacer(db), await openRacer(db)];
  await ender.client.query('begin');
  // The line of b is served while somebody has that of a: only the place in b ends now.
  const holder = await openRacer(db);
  await holder.client.query('begin');
  await holder.client.query(`select from signalbox.lines where queue = 'a' for no key update`);
  await onQueue(ender.client, 'b').acquire('next');
  const renewal = onQueue(renewer.client, 'a').renew('j', held.body.fencing_token);
  await renewer.isBlocked();
  await ender.client.query('commit');
  expect((await renewal).code).toBe('lease_lost');
  await holder.client.query('rollback');
  await a.advance();
  expect(await heldIn(db)).toEqual(['b:next']);
  await expectSoundQueues(db);
});

test('places that are being renewed when their time is over stay, all of them', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['a', 'b']);
  const [a, b] = [onQueue(db, 'a'), onQueue(db, 'b')];
  const held = await a.acquire('j', also('b'));
  await moveClock(db, 31_000);
  const renewer = await openRacer(db);
  await renewer.client.query('begin');
  expect((await onQueue(renewer.client, 'a').renew('j', held.body.fencing_token)).code).toBe('renewed');
  expect((await b.acquire('next')).code).toBe('waiting');
  await a.advance();
  await renewer.client.query('commit');
  await b.advance();
  expect(await heldIn(db)).toEqual(['a:j', 'b:j']);
  await expectSoundQueues(db);
});

test('its places are kept for it and given to others by turns, as long as reserve_max_ms each', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['a', 'b', 'c'], { reserve_max_ms: 5000 });
  const [a, b, c] = [onQueue(db, 'a'), onQueue(db, 'b'), onQueue(db, 'c')];
  await b.hold('h');
  await a.acquire('j', also('b'));
  const skip = { mode: 'skip_if_busy' } as const;
  expect((await a.acquire('kept from', skip)).code).toBe('queue_busy');
  await moveClock(db, 5500);
  const passed = await a.acquire('passes', skip);
  expect(passed.code).toBe('held');
  await moveClock(db, 10_500);
  await a.release('passes', passed.body.fencing_token);
  expect((await a.acquire('kept again', skip)).code).toBe('queue_busy');
  // One that needs none of its queues is in nobody's way, and with 0 nothing is kept.
  expect((await c.acquire('elsewhere', skip)).code).toBe('held');
  await a.configure({ reserve_max_ms: 0 });
  expect((await a.acquire('never kept from', skip)).code).toBe('held');
});

test('runs may be taken past it while its places are not kept', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['a', 'b'], { reserve_max_ms: 5000 });
  const [a, b] = [onQueue(db, 'a'), onQueue(db, 'b')];
  await b.hold('h');
  await a.acquire('j', also('b'));
  await a.enqueue('run');
  expect((await a.take()).ids).toEqual([]);
  await moveClock(db, 5500);
  await a.advance();
  expect((await a.take()).ids).toEqual(['run']);
});

test('a killed connection leaves nothing of what it had begun', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['a', 'b']);
  const victim = await openRacer(db);
  const { rows } = await victim.client.query<{ pid: number }>('select pg_backend_pid() as pid');
  await victim.client.query('begin');
  expect((await onQueue(victim.client, 'a').acquire('j', also('b'))).code).toBe('held');
  await db.query('select pg_terminate_backend($1, 5000)', [rows[0]?.pid]);
  expect(await heldIn(db)).toEqual([]);
  expect((await onQueue(db, 'b').acquire('k', also('a'))).code).toBe('held');
  await expectSoundQueues(db);
});
