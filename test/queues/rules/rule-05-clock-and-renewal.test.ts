import { expect, test } from 'vitest';
import { openRacer, sqlStateOf, waitPatiently } from '../../support/blocked.ts';
import { moveClock } from '../../support/database-clock.ts';
import { freshDatabase } from '../../support/database.ts';
import { makeQueues, oneOf, onQueue, rowsOf } from '../../support/sql-verbs.ts';

const leaseTimes = `select expires_at, renewed_at from signalbox.leases where queue = 'q'`;

test('renewing with a shorter ttl never moves the expiry back', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q']);
  const queue = onQueue(db, 'q');
  const [token = 0] = await queue.hold('a');
  const before = await oneOf<{ expires_at: Date }>(db, leaseTimes);
  expect((await queue.renew('a', token, 1000)).code).toBe('renewed');
  expect((await oneOf<{ expires_at: Date }>(db, leaseTimes)).expires_at).toEqual(before.expires_at);
});

test('a clock that steps back does not shorten a renewed lease', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q']);
  const queue = onQueue(db, 'q');
  const [token = 0] = await queue.hold('a');
  const before = await oneOf<{ expires_at: Date }>(db, leaseTimes);
  await moveClock(db, -3_600_000);
  expect((await queue.renew('a', token)).code).toBe('renewed');
  expect((await oneOf<{ expires_at: Date }>(db, leaseTimes)).expires_at).toEqual(before.expires_at);
});

test.each(['narrow', 'wide'])(
  'renewal past expiry succeeds in a %s queue while nobody took the place',
  async (width) => {
    await using db = await freshDatabase();
    await makeQueues(db, ['q'], width === 'wide' ? { concurrency_limit: null } : {});
    const queue = onQueue(db, 'q');
    const [token = 0] = await queue.hold('a');
    await moveClock(db, 31_000);
    const renewed = await queue.renew('a', token);
    expect(renewed).toMatchObject({ code: 'renewed', body: { fencing_token: token } });
    expect(renewed.body.ttl_remaining_ms).toBeGreaterThan(29_000);
  },
);

test('a renewal that waited for a lock gets its whole ttl from after the wait', async () => {
  await using db = await freshDatabase();
  await waitPatiently(db);
  await makeQueues(db, ['q']);
  const [token = 0] = await onQueue(db, 'q').hold('a');
  const [keeper, renewer] = [await openRacer(db), await openRacer(db)];

  await keeper.client.query('begin');
  await keeper.client.query('select from signalbox.leases for no key update');
  const renewed = onQueue(renewer.client, 'q').renew('a', token);
  await renewer.isBlocked();
  const { now } = await oneOf<{ now: Date }>(db, 'select signalbox.clock() as now');
  await keeper.client.query('commit');

  expect((await renewed).code).toBe('renewed');
  const { renewed_at: renewedAt, expires_at: expiresAt } = await oneOf<{ renewed_at: Date; expires_at: Date }>(
    db,
    leaseTimes,
  );
  expect(renewedAt.getTime()).toBeGreaterThanOrEqual(now.getTime());
  expect(expiresAt.getTime() - renewedAt.getTime()).toBe(30_000);
});

test.each(['renew', 'decide'])('%s waits for a lock 250 ms and no longer', async (verb) => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q']);
  const [token = 0] = await onQueue(db, 'q').hold('a');
  const [keeper, other] = [await openRacer(db), await openRacer(db)];
  await keeper.client.query('begin');
  await keeper.client.query(
    `select from signalbox.lines n join signalbox.leases l using (queue) for no key update of n, l`,
  );

  const queue = onQueue(other.client, 'q');
  expect(await sqlStateOf(verb === 'renew' ? queue.renew('a', token) : queue.acquire('b', { wait: true }))).toBe(
    '55P03',
  );
  const settings = await rowsOf(
    db,
    `select setting from pg_proc, unnest(proconfig) setting
     where oid in ('signalbox_v1.renew'::regproc, 'signalbox_v1.decide'::regproc) and setting like 'lock_timeout=%'`,
  );
  expect(settings).toEqual([{ setting: 'lock_timeout=250ms' }, { setting: 'lock_timeout=250ms' }]);
});

test('a renewal past the expiry that nobody used succeeds, and is told as late', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q']);
  const q = onQueue(db, 'q');
  const { body } = await q.acquire('a', { labels: { tenant: 'acme' } });
  const token = body.fencing_token;
  await moveClock(db, 5000);
  expect((await q.renew('a', token)).code).toBe('renewed');
  const late = `select claim_id, data from signalbox.events where type = 'lease.renewed_late'`;
  expect(await rowsOf(db, late)).toEqual([]);
  await moveClock(db, 40_000);
  expect((await q.renew('a', token)).code).toBe('renewed');
  const [told, ...others] = await rowsOf<{ claim_id: string; data: { late_by_ms: number } }>(db, late);
  expect(others).toEqual([]);
  expect(told).toMatchObject({
    claim_id: 'a',
    data: { fencing_token: token, slot: 1, labels: { tenant: 'acme' } },
  });
  expect(told?.data.late_by_ms).toBeGreaterThan(4000);
});

test('no renewal goes past max_hold_ms, and afterwards the reason says so, whoever ends the lease', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q'], { max_hold_ms: 60_000 });
  const queue = onQueue(db, 'q');
  const [token = 0] = await queue.hold('a');
  await moveClock(db, 25_000);
  expect((await queue.renew('a', token)).code).toBe('renewed');
  await moveClock(db, 50_000);
  expect((await queue.renew('a', token)).body.ttl_remaining_ms).toBeLessThanOrEqual(10_000);
  await moveClock(db, 61_000);

  expect(await queue.renew('a', token)).toMatchObject({ code: 'lease_lost', body: { reason: 'max_hold' } });
  expect(await queue.look('a')).toMatchObject({ code: 'ended', body: { reason: 'max_hold' } });
  expect((await queue.acquire('b')).code).toBe('held');
  expect(await queue.renew('a', token)).toMatchObject({ code: 'lease_lost', body: { reason: 'max_hold' } });
});

test('a hold bound reached by no renewal ends the lease as expired, not as max_hold', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q'], { max_hold_ms: 60_000 });
  const queue = onQueue(db, 'q');
  const [token = 0] = await queue.hold('a');
  await moveClock(db, 31_000);
  await queue.advance();
  expect(await queue.renew('a', token)).toMatchObject({ code: 'lease_lost', body: { reason: 'expired' } });
});

test('a ttl above the maximum is refused by acquire and renew, and changes nothing', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q']);
  const queue = onQueue(db, 'q');
  expect((await queue.acquire('a', { ttl_ms: 300_001 })).code).toBe('ttl_too_long');
  expect([await queue.held(), await queue.line()]).toEqual([[], []]);
  const [token = 0] = await queue.hold('a');
  const before = await oneOf(db, leaseTimes);
  expect((await queue.renew('a', token, 300_001)).code).toBe('ttl_too_long');
  expect(await oneOf(db, leaseTimes)).toEqual(before);
});

test('a renewed lease is told how long is left, never more than the row says', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q']);
  const [token = 0] = await onQueue(db, 'q').hold('a');
  const { body } = await onQueue(db, 'q').renew('a', token, 5000);
  const { left } = await oneOf<{ left: number }>(
    db,
    `select extract(epoch from expires_at - renewed_at)::float8 * 1000 as left from signalbox.leases`,
  );
  expect(body.ttl_remaining_ms).toBeLessThanOrEqual(left);
});

test('only the clock function reads the time', async () => {
  await using db = await freshDatabase();
  const others = await rowsOf(
    db,
    `select oid::regprocedure::text from pg_proc
     where pronamespace in ('signalbox'::regnamespace, 'signalbox_v1'::regnamespace) and proname <> 'clock'
       and regexp_replace(prosrc, '--[^\n]*', '', 'g')
         ~* '\\m(now\\s*\\(|clock_timestamp|statement_timestamp|transaction_timestamp|current_timestamp|current_date|timeofday|localtime)'`,
  );
  expect(others).toEqual([]);
});
