import { describe, expect, it } from 'vitest';
import { type TestDatabase } from '../support/database.ts';
import { anId, held, type TestClient } from '../support/http-client.ts';
import { lineUp, startTestApp, untilWaiting } from '../support/test-app.ts';
import { until } from '../support/until.ts';
import { oneReplica } from '../support/one-replica.ts';

let database: TestDatabase;
let client: TestClient;
oneReplica((parts) => ({ database, client } = parts));

describe('waited_ms', () => {
  it('is next to nothing where nothing was waited for', async () => {
    const sentAtMs = performance.now();
    const lease = await client.hold(anId('q'), { wait_ms: 10_000 });
    expect(lease.waited_ms).toBeLessThanOrEqual(performance.now() - sentAtMs);
  });

  it('tells a client granted after a second how long its request was kept, so that its deadline is right', async () => {
    const queue = anId('q');
    const first = await client.hold(queue);
    const sentAtMs = performance.now();
    const polled = client.acquire(queue, { wait_ms: 30_000, ttl_ms: 20_000 });
    await untilWaiting(client, queue, 1);
    await new Promise((resolve) => setTimeout(resolve, 1000 - (performance.now() - sentAtMs)));
    await client.release(first);
    const lease = held(await polled);
    const elapsedMs = performance.now() - sentAtMs;
    expect(lease.waited_ms).toBeGreaterThanOrEqual(900);
    expect(lease.waited_ms).toBeLessThanOrEqual(elapsedMs);
    expect(lease.ttl_remaining_ms).toBeGreaterThan(15_000);
    expect(lease.ttl_remaining_ms).toBeLessThanOrEqual(20_000);
    // What the holder works out is never later than what the database says.
    const deadlineMs = sentAtMs + lease.waited_ms + lease.ttl_remaining_ms;
    const { body } = await client.get(queue, lease.claim_id);
    expect(deadlineMs).toBeLessThanOrEqual(performance.now() + (body as typeof lease).ttl_remaining_ms);
  });
});

describe('a long-poll', () => {
  it('that is not granted in time ends with 202 after wait_ms', async () => {
    const queue = anId('q');
    await client.hold(queue);
    const sentAtMs = performance.now();
    const reply = await client.acquire(queue, { wait_ms: 500 });
    expect(reply).toMatchObject({ status: 202, body: { state: 'waiting', position: 1 } });
    expect(performance.now() - sentAtMs).toBeGreaterThanOrEqual(450);
  });

  it.each([60_001, -1, 1.5])('wait_ms %d is refused', async (wait_ms) => {
    expect(await client.acquire(anId('q'), { wait_ms })).toMatchObject({
      status: 400,
      body: { code: 'invalid_request' },
    });
    expect(await client.get(anId('q'), 'c', { waitMs: wait_ms })).toMatchObject({ status: 400 });
  });

  it('wakes on GET ?wait_ms= too, and makes the grant a full lease', async () => {
    const queue = anId('q');
    const first = await client.hold(queue);
    await lineUp(client, queue, 'a');
    const looking = client.get(queue, 'a', { waitMs: 30_000 });
    await client.release(first);
    const lease = held(await looking);
    expect(lease.ttl_remaining_ms).toBeGreaterThan(20_000);
  });

  it('wakes both clients of one claim with the same lease', async () => {
    const queue = anId('q');
    const first = await client.hold(queue);
    const body = { claim_id: 'shared', holder: 'me', wait_ms: 30_000 };
    const both = [client.acquire(queue, body), client.acquire(queue, body)];
    await until(async () => (await client.ask<string>('GET', '/v1/orchestrator')).status === 200, { what: 'answers' });
    await untilWaiting(client, queue, 1);
    await client.release(first);
    const [one, other] = (await Promise.all(both)).map(held);
    expect(one?.fencing_token).toBe(other?.fencing_token);
    expect((await client.queue(queue)).body).toMatchObject({ held: 1, waiting: 0 });
  });

  it('wakes the client on another replica', async () => {
    await using second = await startTestApp(database);
    const queue = anId('q');
    const first = await client.hold(queue);
    const polled = second.client.acquire(queue, { claim_id: 'far', wait_ms: 30_000 });
    await untilWaiting(client, queue, 1);
    await client.release(first);
    expect(held(await polled).claim_id).toBe('far');
  });

  it('takes over a lease that runs out, without a leader', async () => {
    const queue = anId('q');
    const dead = await client.hold(queue, { ttl_ms: 1000 });
    const lease = held(await client.acquire(queue, { wait_ms: 30_000 }));
    expect(lease.fencing_token).toBeGreaterThan(dead.fencing_token);
    expect(Date.parse(lease.acquired_at) - Date.parse(dead.expires_at)).toBeLessThan(2000);
  });
});

describe('a client that hangs up', () => {
  it.each(['acquire', 'GET'])('in %s keeps its place; a grant to it is then an offer', async (verb) => {
    const queue = anId('q');
    const first = await client.hold(queue);
    const hangUp = new AbortController();
    const path = `/v1/queues/${queue}/claims/gone?wait_ms=30000`;
    if (verb === 'GET') await lineUp(client, queue, 'gone');
    const polled =
      verb === 'GET'
        ? client.ask('GET', path, undefined, { signal: hangUp.signal })
        : client.acquire(queue, { claim_id: 'gone', wait_ms: 30_000 }, { signal: hangUp.signal });
    const cut = expect(polled).rejects.toThrow();
    // The replica counts the client as listening, then as gone.
    const listening = () =>
      database
        .query<{ listening: boolean }>(`select listening from signalbox_v1.line where queue = $1`, [queue])
        .then(({ rows }) => rows[0]?.listening);
    await until(async () => (await listening()) === true, { what: 'the client is heard' });
    await lineUp(client, queue, 'behind');
    hangUp.abort();
    await cut;
    await until(async () => (await listening()) === false, { what: 'the replica has noticed' });
    expect((await client.queue(queue)).body.line.map(({ claim_id }) => claim_id)).toEqual(['gone', 'behind']);
    await client.release(first);
    const [holder] = (await client.queue(queue)).body.holders;
    expect(holder?.claim_id).toBe('gone');
    expect(holder?.ttl_remaining_ms).toBeLessThanOrEqual(10_000);
    // Heard of in time, the offer is a full lease.
    expect(held(await client.get(queue, 'gone')).ttl_remaining_ms).toBeGreaterThan(20_000);
  });
});

describe('at once', () => {
  it('the same claim_id acquired by two requests makes one claim', async () => {
    for (let round = 0; round < 10; round++) {
      const queue = anId('q');
      if (round % 2 === 1) await client.hold(queue);
      const body = { claim_id: 'c', holder: 'me' };
      const replies = await Promise.all([1, 2, 3].map(() => client.acquire(queue, body)));
      expect(new Set(replies.map(({ status }) => status))).toEqual(new Set([round % 2 === 1 ? 202 : 200]));
      const { held: holding, waiting } = (await client.queue(queue)).body;
      expect([holding, waiting]).toEqual(round % 2 === 1 ? [1, 1] : [1, 0]);
    }
  });

  it('the same claim_id acquired by two holders belongs to one of them', async () => {
    const queue = anId('q');
    const replies = await Promise.all(['me', 'you'].map((holder) => client.acquire(queue, { claim_id: 'c', holder })));
    expect(replies.map(({ status }) => status).sort()).toEqual([200, 409]);
  });

  it('200 clients of a queue of limit 3 all get their turn, in the order of the line, never more than 3 at a time', async () => {
    const queue = anId('q');
    await client.put(queue, { concurrency_limit: 3 });
    let holding = 0;
    let most = 0;
    const leases = await Promise.all(
      Array.from({ length: 200 }, async () => {
        const lease = held(await client.acquire(queue, { wait_ms: 60_000 }));
        most = Math.max(most, ++holding);
        holding--;
        expect(await client.release(lease)).toMatchObject({ body: { released: true } });
        return lease;
      }),
    );
    expect(most).toBeLessThanOrEqual(3);
    const byToken = leases.toSorted((a, b) => a.fencing_token - b.fencing_token);
    expect(new Set(byToken.map((lease) => lease.fencing_token)).size).toBe(200);
    const arrivals = byToken.map((lease) => lease.enqueued_at);
    expect(arrivals).toEqual(arrivals.toSorted());
    expect((await client.queue(queue)).body).toMatchObject({ held: 0, waiting: 0 });
  });
});
