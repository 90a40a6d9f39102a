import { describe, expect, test } from 'vitest';
import { freshDatabase, type TestDatabase } from '../support/database.ts';
import { anId, held, waiting } from '../support/http-client.ts';
import { startReplica, type Replica } from '../support/replica.ts';
import { until } from '../support/until.ts';

const waitingTtlMs = 2000;

/** A queue that is held for long, with a line in front of it whose silent claims end after 2 s. */
async function busyQueue(replica: Replica): Promise<string> {
  const queue = anId('line');
  await replica.client.put(queue, { waiting_ttl_ms: waitingTtlMs });
  await replica.client.hold(queue, { ttl_ms: 120_000 });
  return queue;
}

function waits(database: TestDatabase, queue: string, claimId: string) {
  const sql = 'select from signalbox.waiting where queue = $1 and claim_id = $2';
  return until(async () => (await database.query(sql, [queue, claimId])).rowCount, { what: `${claimId} waits` });
}

/** A client that long-polls and can hang up. */
async function longPoll(replica: Replica, database: TestDatabase, queue: string, claimId: string) {
  const client = new AbortController();
  const body = { holder: claimId, claim_id: claimId, wait_ms: 60_000 };
  const answer = replica.client.acquire(queue, body, { signal: client.signal });
  answer.catch(() => undefined);
  await waits(database, queue, claimId);
  return { hangUp: () => client.abort(), answer };
}

describe.concurrent('a client that hangs up while it waits', () => {
  test('keeps its place until waiting_ttl_ms, then its claim ends as expired, with the reason', async () => {
    await using database = await freshDatabase();
    await using replica = await startReplica({ databaseUrl: database.url, directUrl: database.directUrl });
    const queue = await busyQueue(replica);
    const gone = await longPoll(replica, database, queue, 'gone');
    const stays = await longPoll(replica, database, queue, 'stays');

    const { rows: before } = await database.query<{ at: Date }>('select clock_timestamp() as at');
    gone.hangUp();
    const seen = waiting(await replica.client.acquire(queue, { holder: 'last', claim_id: 'last' }));
    expect(seen.position).toBe(3);
    const { rows } = await until(
      async () => {
        const found = await database.query<{ silent: number; state: string; reason: string }>(
          `select state, reason, extract(epoch from ended_at - $2)::float8 * 1000 as silent
           from signalbox.history where queue = $1 and claim_id = 'gone'`,
          [queue, before[0]?.at],
        );
        return found.rowCount === 1 && found;
      },
      { what: 'the claim ended', timeoutMs: 20_000 },
    );
    expect(rows[0]).toMatchObject({ state: 'expired', reason: 'waiting_ttl' });
    expect(rows[0]?.silent).toBeGreaterThanOrEqual(waitingTtlMs);
    expect(rows[0]?.silent).toBeLessThan(waitingTtlMs + 3000);
    expect((await replica.client.get(queue, 'gone')).body).toMatchObject({ state: 'expired', reason: 'waiting_ttl' });
    expect(await replica.client.acquire(queue, { holder: 'gone', claim_id: 'gone' })).toMatchObject({
      status: 410,
      body: { code: 'claim_ended', reason: 'waiting_ttl' },
    });
    expect((await replica.client.get(queue, 'stays')).body).toMatchObject({ state: 'waiting', position: 1 });
    stays.hangUp();
  });

  test('and asks again in time has the same place', async () => {
    await using database = await freshDatabase();
    await using replica = await startReplica({ databaseUrl: database.url, directUrl: database.directUrl });
    const queue = await busyQueue(replica);
    const first = await longPoll(replica, database, queue, 'first');
    const second = await longPoll(replica, database, queue, 'second');
    first.hangUp();
    await expect(first.answer).rejects.toThrow();

    const again = waiting(await replica.client.acquire(queue, { holder: 'first', claim_id: 'first' }));
    expect(again).toMatchObject({ position: 1, waiting_for: 'no_free_slot' });
    expect((await replica.client.get(queue, 'second')).body).toMatchObject({
      position: 2,
      waiting_for: 'behind_others',
    });
    second.hangUp();
  });

  test('and is granted meanwhile gets an offer of 10 s at most, a full lease when it comes back', async () => {
    await using database = await freshDatabase();
    await using replica = await startReplica({ databaseUrl: database.url, directUrl: database.directUrl });
    const queue = anId('line');
    const lease = await replica.client.hold(queue);
    const gone = await longPoll(replica, database, queue, 'gone');
    gone.hangUp();
    await until(
      async () =>
        (
          await database.query('select from signalbox.heard where queue = $1 and listens_until <= clock_timestamp()', [
            queue,
          ])
        ).rowCount,
      { what: 'the replica noticed' },
    );
    await replica.client.release(lease);

    const { rows } = await database.query(
      'select offered, ttl_remaining_ms <= 10000 as short from signalbox_v1.leases where queue = $1',
      [queue],
    );
    expect(rows).toEqual([{ offered: true, short: true }]);
    const back = held(await replica.client.acquire(queue, { holder: 'gone', claim_id: 'gone' }));
    expect(back.ttl_remaining_ms).toBeGreaterThan(25_000);
  });
});

test.concurrent.each(['acquire', 'GET'])(
  'an open long-poll by %s keeps its claim alive longer than waiting_ttl_ms',
  async (verb) => {
    await using database = await freshDatabase();
    await using replica = await startReplica({ databaseUrl: database.url, directUrl: database.directUrl });
    const queue = await busyQueue(replica);
    const claim = { holder: 'patient', claim_id: 'patient' };
    const other = await longPoll(replica, database, queue, 'other');
    await until(
      async () =>
        (
          await database.query(
            `select from signalbox.heard h join signalbox.waiting w on w.queue = h.queue and w.claim_id = h.claim_id
             where h.queue = $1 and h.claim_id = 'other' and h.heard_at > w.enqueued_at`,
            [queue],
          )
        ).rowCount,
      { what: 'the watch has just been round: it comes again in 5 s, so the poll must keep its claim alive by itself' },
    );
    waiting(await replica.client.acquire(queue, claim));
    const startedAt = performance.now();
    const reply =
      verb === 'GET'
        ? await replica.client.get(queue, 'patient', { waitMs: 6000 })
        : await replica.client.acquire(queue, { ...claim, wait_ms: 6000 });

    expect(performance.now() - startedAt).toBeGreaterThanOrEqual(5900);
    expect(waiting(reply)).toMatchObject({ claim_id: 'patient', position: 2 });
    other.hangUp();
  },
);
