import { describe, expect, test } from 'vitest';
import { freshDatabase, type TestDatabase } from '../support/database.ts';
import { anId, held, waiting } from '../support/http-client.ts';
import { startReplica, type Replica } from '../support/replica.ts';
import { StallMeter } from '../support/stalls.ts';
import { until } from '../support/until.ts';

/** Nobody can lead: the row belongs to somebody who is not there, for a long time. */
async function withoutLeader(database: TestDatabase): Promise<void> {
  await database.query(
    `insert into signalbox.orchestrator_lock (id, leader, epoch, acquired_at, renewed_at, expires_at)
     values (1, 'nobody:1:00000000', 1, clock_timestamp(), clock_timestamp(), clock_timestamp() + interval '1 day')
     on conflict (id) do update set leader = excluded.leader, epoch = 1, expires_at = excluded.expires_at`,
  );
}

function startOn(database: TestDatabase): Promise<Replica> {
  return startReplica({ databaseUrl: database.url, directUrl: database.directUrl });
}

/** ms from the expiry of the first grant to the next one, by the database's times. */
async function gapMs(database: TestDatabase, queue: string): Promise<number> {
  const { rows } = await database.query<{ gap: number }>(
    `select extract(epoch from l.acquired_at - h.expires_at)::float8 * 1000 as gap
     from signalbox.leases l join signalbox.history h on h.queue = l.queue and h.state = 'expired'
     where l.queue = $1 and l.state = 'held'`,
    [queue],
  );
  return rows[0]?.gap ?? NaN;
}

describe.each([
  { name: 'with a leader', hasLeader: true },
  { name: 'with no leader at all', hasLeader: false },
])("a dead holder's slot, $name", ({ hasLeader }) => {
  test('is with the next claim within 1 s of its expiry where that one long-polls', async () => {
    await using database = await freshDatabase();
    if (!hasLeader) await withoutLeader(database);
    await using replica = await startOn(database);
    await using stalls = new StallMeter(() => replica.client.alive());
    const queue = anId('dead');
    const dead = await replica.client.hold(queue, { ttl_ms: 1500 });
    const next = held(await replica.client.acquire(queue, { wait_ms: 20_000 }));

    expect(next.fencing_token).toBeGreaterThan(dead.fencing_token);
    const gap = await gapMs(database, queue);
    expect(gap).toBeGreaterThanOrEqual(0);
    expect(gap).toBeLessThanOrEqual(1000 + 3 * stalls.worstMs);
    if (!hasLeader) expect((await replica.client.orchestrator()).body.chores).toEqual([]);
  });

  test('is given to one that merely polls, with its first poll after the expiry', async () => {
    await using database = await freshDatabase();
    if (!hasLeader) await withoutLeader(database);
    await using replica = await startOn(database);
    await using stalls = new StallMeter(() => replica.client.alive());
    const queue = anId('dead');
    await replica.client.hold(queue, { ttl_ms: 1500 });
    const claim = { holder: 'poller', claim_id: anId('claim') };
    waiting(await replica.client.acquire(queue, claim));

    const next = await until(
      async () => {
        const reply = await replica.client.acquire(queue, claim);
        return reply.status === 200 && held(reply);
      },
      { what: 'the poller holds' },
    );
    // The poll that found it made it a full lease, not an offer of ten seconds.
    expect(next.ttl_remaining_ms).toBeGreaterThan(25_000);
    expect(await gapMs(database, queue)).toBeLessThanOrEqual(1000 + 3 * stalls.worstMs);
  });
});

test('a lease that ran out shows as expired at once, by GET and by the view, before anybody has ended it', async () => {
  await using database = await freshDatabase();
  await withoutLeader(database);
  await using replica = await startOn(database);
  const queue = anId('dead');
  const lease = await replica.client.hold(queue, { ttl_ms: 1000 });
  await until(
    async () =>
      (
        await database.query('select from signalbox.leases where queue = $1 and expires_at <= clock_timestamp()', [
          queue,
        ])
      ).rowCount,
    { what: 'it has run out' },
  );

  expect((await replica.client.get(queue, lease.claim_id)).body).toMatchObject({ state: 'expired', reason: 'expired' });
  const { rows } = await database.query(
    'select expired_not_reaped, ttl_remaining_ms::int as left from signalbox_v1.leases where queue = $1',
    [queue],
  );
  expect(rows).toEqual([{ expired_not_reaped: true, left: 0 }]);
  expect((await replica.client.queue(queue)).body.holders).toMatchObject([{ expired: true }]);
  expect((await database.query('select from signalbox.history where queue = $1', [queue])).rowCount).toBe(0);
});

test('a lease that ran out where nobody waits is cleaned by the leader within 10 s', async () => {
  await using database = await freshDatabase();
  await using replica = await startOn(database);
  const queue = anId('dead');
  await replica.client.hold(queue, { ttl_ms: 1000 });
  const { rows } = await until(
    async () => {
      const found = await database.query<{ late: number }>(
        `select extract(epoch from ended_at - expires_at)::float8 * 1000 as late from signalbox.history
         where queue = $1 and state = 'expired'`,
        [queue],
      );
      return found.rowCount === 1 && found;
    },
    { what: 'the leader ended it', timeoutMs: 20_000 },
  );
  expect(rows[0]?.late).toBeLessThanOrEqual(10_000);
});
