import { expect, test } from 'vitest';
import { sqlStateOf } from '../support/blocked.ts';
import { freshDatabase } from '../support/database.ts';
import { moveClock, stopClockAfterGrant } from '../support/database-clock.ts';
import { acquireItem, decide, makeQueues, onQueue, oneOf, releaseItem, rowsOf } from '../support/sql-verbs.ts';

/** A queue `q` in a database whose clock a test may move. */
async function aQueue(settings: object = {}) {
  const db = await freshDatabase();
  await makeQueues(db, ['q'], settings);
  return { db, q: onQueue(db, 'q'), [Symbol.asyncDispose]: () => db[Symbol.asyncDispose]() };
}

test('P02: a wish that was granted while nobody listened, long past its time, is granted again before the younger', async () => {
  await using situation = await aQueue();
  const { db, q } = situation;
  const [token = 0] = await q.hold('going');
  await q.acquire('older', { listen_ms: 0 });
  await q.acquire('younger');
  await q.release('going', token);
  await moveClock(db, 20_000);
  expect(await q.acquire('older')).toMatchObject({ code: 'held', body: { offered: false } });
  expect(await q.line()).toEqual(['younger']);
});

test('P09, P10: a slot is one row, made once and used for ever; a release ends the lease in it and deletes nothing', async () => {
  await using situation = await aQueue();
  const { db, q } = situation;
  await db.query(`create table public.made (op text);
    create function note() returns trigger language plpgsql as $$ begin insert into public.made values (tg_op); return null; end $$;
    create trigger note after insert or delete on signalbox.leases for each row execute function note()`);
  for (const claim of ['first', 'second']) {
    const [token = 0] = await q.hold(claim);
    await q.release(claim, token);
    expect(
      await rowsOf(
        db,
        `select slot, state, claim_id, end_state, ended_at between acquired_at and signalbox.clock() as is_now
         from signalbox.leases`,
      ),
    ).toEqual([{ slot: 1, state: 'free', claim_id: claim, end_state: 'released', is_now: true }]);
  }
  expect(await rowsOf(db, 'select op from public.made')).toEqual([{ op: 'INSERT' }]);
});

test('P11, P13: the release of a lease that is somebody else’s, or of none, writes nothing', async () => {
  await using situation = await aQueue();
  const { db, q } = situation;
  const [token = 0] = await q.hold('a');
  const row = () => rowsOf(db, 'select ctid::text, xmin::text, * from signalbox.leases');
  const before = await row();
  expect((await q.release('a', token + 1)).code).toBe('token_mismatch');
  expect((await q.release('nobody', token)).code).toBe('claim_not_found');
  expect(await row()).toEqual(before);
});

test.each([
  [10_000, 'waiting'],
  [29_999, 'waiting'],
  // A lease is of the time before `expires_at`: at that very moment it may be taken over, and not before.
  [30_000, 'held'],
  [60_000, 'held'],
])('P14: %i ms after a grant with a ttl of 30 s, somebody else who asks is %s', async (ms, code) => {
  await using situation = await aQueue();
  const { db, q } = situation;
  await q.acquire('a', { ttl_ms: 30_000 });
  await stopClockAfterGrant(db, ms);
  expect((await q.acquire('b')).code).toBe(code);
});

test.each([
  ['none', 'held'],
  ['released', 'held'],
  ['its own', 'held'],
  ['somebody else’s, expired', 'held'],
  ['somebody else’s, alive', 'waiting'],
])('P15: where the lease is %s, a claim that asks is %s', async (lease, code) => {
  await using situation = await aQueue();
  const { db, q } = situation;
  const claim = lease === 'its own' ? 'a' : 'b';
  if (lease !== 'none') {
    const [token = 0] = await q.hold('a');
    if (lease === 'released') await q.release('a', token);
    if (lease.endsWith('expired')) await moveClock(db, 31_000);
  }
  expect((await q.acquire(claim)).code).toBe(code);
  expect(await q.held()).toHaveLength(1);
});

test('L1: a lease is of one claim, not of a process: a second wish of the same holder waits, and its own end frees nothing', async () => {
  await using situation = await aQueue();
  const { db, q } = situation;
  const both = { holder: 'worker:1:x' };
  const items = ['one', 'two'].map((claim) => acquireItem('q', claim, both));
  expect((await decide(db, items)).map(({ code }) => code)).toEqual(['held', 'waiting']);
  const { token } = await oneOf<{ token: string }>(db, `select fencing_token::text as token from signalbox.leases`);
  await q.cancel('two');
  expect((await q.release('two', Number(token))).code).not.toBe('released');
  expect(await q.held()).toEqual(['one']);
});

test('L2: a holder that stalled past its lease and was followed writes nothing, whatever it sends', async () => {
  await using situation = await aQueue();
  const { db, q } = situation;
  const [token = 0] = await q.hold('stalled');
  await moveClock(db, 31_000);
  await q.hold('next');
  const row = () => rowsOf(db, 'select * from signalbox.leases');
  const before = await row();
  expect((await q.renew('stalled', token)).code).toBe('lease_lost');
  expect((await q.release('stalled', token)).body).toMatchObject({ reason: 'expired' });
  expect((await q.acquire('stalled')).code).toBe('claim_ended');
  expect(await row()).toEqual(before);
});

test('P41: with the clock standing still, those of one priority are granted in the order of their asking', async () => {
  await using situation = await aQueue();
  const { db, q } = situation;
  const [going = 0] = await q.hold('going');
  await stopClockAfterGrant(db, 0);
  for (const claim of ['c', 'a', 'b']) await q.acquire(claim);
  let [last, token] = ['going', going];
  const granted: string[] = [];
  while (granted.length < 3) {
    await q.release(last, token);
    [last = ''] = await q.held();
    token = (await q.look(last)).body.fencing_token;
    granted.push(last);
  }
  expect(granted).toEqual(['c', 'a', 'b']);
});

test('P82: a wish that could not ask for a while keeps its place, as long as waiting_ttl_ms has not passed', async () => {
  await using situation = await aQueue({ waiting_ttl_ms: 60_000 });
  const { db, q } = situation;
  await q.acquire('going', { ttl_ms: 300_000 });
  await q.acquire('silent', { listen_ms: 0 });
  await q.acquire('later');
  await moveClock(db, 59_000);
  expect((await q.acquire('silent')).code).toBe('waiting');
  expect((await q.look('silent')).body.position).toBe(1);
  expect(await q.line()).toEqual(['silent', 'later']);
});

test('P33: a lease without a holder, a claim, a token or a time cannot be stored', async () => {
  await using situation = await aQueue();
  const { db, q } = situation;
  await q.hold('a');
  for (const column of ['holder', 'claim_id', 'fencing_token', 'acquired_at', 'expires_at'])
    expect(await sqlStateOf(db.query(`update signalbox.leases set ${column} = null`))).toBe('23502');
  expect(await sqlStateOf(db.query(`update signalbox.leases set expires_at = 'soon'`))).toBe('22007');
});

test('M13, L4: one call that takes and gives places of one queue many times is done at once, and uses each that comes free', async () => {
  await using situation = await aQueue({ concurrency_limit: 3 });
  const { db, q } = situation;
  const tokens = await q.hold('a', 'b', 'c');
  for (const claim of ['d', 'e', 'f', 'g']) await q.acquire(claim);
  const releases = ['a', 'b', 'c'].map((claim, n) => releaseItem('q', claim, tokens[n] ?? 0));
  const codes = await decide(db, [acquireItem('q', 'h'), ...releases, acquireItem('q', 'i')]);
  expect(codes.filter(({ code }) => code === 'released')).toHaveLength(3);
  expect([...(await q.held())].sort()).toEqual(['d', 'e', 'f']);
  expect(await q.line()).toEqual(['g', 'h', 'i']);
});

test('M16: a claim has its place in the order from the write that makes it, or it is not made', async () => {
  await using situation = await aQueue();
  const { db, q } = situation;
  await q.hold('going');
  const on = await db.connect();
  await on.query('begin');
  await onQueue(on, 'q').acquire('lost');
  await on.query('rollback');
  await q.acquire('kept');
  expect(await q.line()).toEqual(['kept']);
  expect(await sqlStateOf(db.query('update signalbox.waiting set seq = null'))).toBe('23502');
});

test('M17: claims granted while there was no limit are counted when there is one', async () => {
  await using situation = await aQueue({ concurrency_limit: null });
  const { q } = situation;
  const tokens = await q.hold('a', 'b', 'c');
  await q.configure({ concurrency_limit: 2 });
  expect((await q.acquire('late')).code).toBe('waiting');
  await q.release('a', tokens[0] ?? 0);
  expect(await q.line()).toEqual(['late']);
  await q.release('b', tokens[1] ?? 0);
  expect([...(await q.held())].sort()).toEqual(['c', 'late']);
});
