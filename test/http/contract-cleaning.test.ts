import { describe, expect, it } from 'vitest';
import type { CleaningLease } from '../../src/protocol/cleaning.ts';
import type { TestDatabase } from '../support/database.ts';
import { anId, type TestClient } from '../support/http-client.ts';
import { oneReplica } from '../support/one-replica.ts';
import { startTestApp, type TestApp, untilWaiting } from '../support/test-app.ts';
import { feedPatienceMs, until } from '../support/until.ts';

let client: TestClient;
let app: TestApp;
let database: TestDatabase;
oneReplica((parts) => ({ client, replica: app, database } = parts));

/** A queue of one place that `soiler` held and left dirty. */
async function dirtyQueue(settings: object = {}, soiler: Parameters<TestClient['hold']>[1] = {}): Promise<string> {
  const queue = anId('q');
  await client.put(queue, { cleanup: true, ...settings });
  const lease = await client.hold(queue, { claim_id: 'soiler', holder: 'its holder', ...soiler });
  await client.release(lease, { outcome: 'failure' });
  return queue;
}

function clean(queue: string, body: object = {}, { through = client }: { through?: TestClient } = {}) {
  return through.ask<{ claims: CleaningLease[] }>('POST', `/v1/queues/${queue}/clean`, { holder: 'mop', ...body });
}

async function cleanOne(queue: string, body: object = {}): Promise<CleaningLease> {
  const { status, body: answer } = await clean(queue, body);
  const [claim, ...more] = (answer as { claims?: CleaningLease[] }).claims ?? [];
  if (claim === undefined || more.length > 0) throw new Error(`not one slot: ${status} ${JSON.stringify(answer)}`);
  return claim;
}

/** How many cleaners wait on the replica. */
async function cleanersWaiting(count: number): Promise<void> {
  await until(
    async () => {
      const text = await (await fetch(`${app.url}/metrics`)).text();
      return text.includes(`\nsignalbox_waiting_cleaners ${count}\n`);
    },
    { what: `${count} cleaners wait` },
  );
}

describe('POST /v1/queues/{queue}/clean', () => {
  it('gives a lease of kind cleaning, with a token newer than that of whoever was there, and tells who that was', async () => {
    const queue = await dirtyQueue({}, { labels: { tenant: 't' }, metadata: { disk: '/dev/x' } });
    const claim = await cleanOne(queue, { ttl_ms: 20_000 });
    expect(claim).toMatchObject({
      queue,
      kind: 'cleaning',
      state: 'held',
      holder: 'mop',
      slot: 1,
      attempt: 1,
      ttl_ms: 20_000,
      previous: {
        claim_id: 'soiler',
        kind: 'claim',
        holder: 'its holder',
        state: 'released',
        reason: 'released',
        outcome: 'failure',
        labels: { tenant: 't' },
        metadata: { disk: '/dev/x' },
      },
    });
    expect(claim.fencing_token).toBeGreaterThan(claim.previous.fencing_token);
    expect(claim).not.toHaveProperty('offered');
    // What the resource asks: the cleaner's token is the slot's.
    expect(
      (await client.ask('GET', `/v1/queues/${queue}/check?fencing_token=${claim.fencing_token}`)).body,
    ).toMatchObject({
      current: true,
    });
    expect((await client.get(queue, claim.claim_id)).body).toMatchObject({ kind: 'cleaning', state: 'held' });
    expect(await client.renew(claim)).toMatchObject({ status: 200 });
    expect((await client.release(claim)).body).toEqual({ released: true });
    expect((await client.release(claim)).body).toEqual({ released: false, reason: 'released' });
  });

  it('a waiting claim is told cleanup, by the line and while somebody cleans, and gets the place when it is clean', async () => {
    const queue = await dirtyQueue();
    const waits = await client.acquire(queue, { claim_id: 'next', holder: 'n' });
    expect(waits).toMatchObject({ status: 202, body: { waiting_for: 'cleanup', blocked_by: [] } });
    const detail = (await client.queue(queue)).body;
    expect(detail).toMatchObject({ held: 0, dirty: 1, cleaning: 0, line: [{ waiting_for: 'cleanup' }], holders: [] });
    const claim = await cleanOne(queue);
    expect((await client.queue(queue)).body).toMatchObject({
      held: 0,
      dirty: 0,
      cleaning: 1,
      line: [{ waiting_for: 'cleanup' }],
      holders: [{ kind: 'cleaning', holder: 'mop' }],
    });
    const granted = client.acquire(queue, { claim_id: 'next', holder: 'n', wait_ms: 20_000 });
    await client.release(claim, { outcome: 'success' });
    expect(await granted).toMatchObject({ status: 200, body: { state: 'held', slot: 1, kind: 'claim' } });
    expect((await client.queue(queue)).body).toMatchObject({ held: 1, dirty: 0, cleaning: 0 });
  });

  it('waits for a slot to become dirty, and hears of it from this replica and from another one', async () => {
    const queue = anId('q');
    await client.put(queue, { cleanup: true });
    const lease = await client.hold(queue);
    const waiting = clean(queue, { wait_ms: 30_000 });
    await cleanersWaiting(1);
    await client.release(lease);
    const [claim] = (await waiting).body.claims;
    expect(claim?.previous.claim_id).toBe(lease.claim_id);
    if (claim === undefined) throw new Error('nothing was given');
    await client.release(claim);

    await using other = await startTestApp(database);
    const again = await other.client.hold(queue);
    const elsewhere = clean(queue, { wait_ms: 30_000 });
    await cleanersWaiting(1);
    await other.client.release(again);
    expect((await elsewhere).body).toMatchObject({ claims: [{ previous: { claim_id: again.claim_id } }] });
  });

  it('answers with none when there is nothing to clean: at once, or when wait_ms is over', async () => {
    const queue = anId('q');
    await client.put(queue, { cleanup: true });
    expect(await clean(queue)).toMatchObject({ status: 200, body: { claims: [] } });
    expect(await clean(queue, { wait_ms: 50 })).toMatchObject({ status: 200, body: { claims: [] } });
  });

  it('a queue that does not exist is 404 queue_not_found, at once, and is not made', async () => {
    const queue = anId('q');
    for (const waitMs of [0, 60_000])
      expect(await clean(queue, { wait_ms: waitMs })).toMatchObject({ status: 404, body: { code: 'queue_not_found' } });
    expect((await client.queue(queue)).status).toBe(404);
  });

  it('the same request again is answered with the same slot', async () => {
    const queue = await dirtyQueue();
    const first = await cleanOne(queue, { request_id: 'r' });
    expect((await cleanOne(queue, { request_id: 'r' })).fencing_token).toBe(first.fencing_token);
  });

  it('a cleaner outlives the replica that gave it its slot, and a dirty slot the one it was left through', async () => {
    const queue = anId('q');
    await client.put(queue, { cleanup: true });
    const first = await startTestApp(database);
    await first.client.release(await first.client.hold(queue));
    await first[Symbol.asyncDispose]();
    const second = await startTestApp(database);
    const { body } = await clean(queue, {}, { through: second.client });
    await second[Symbol.asyncDispose]();
    const [claim] = body.claims;
    if (claim === undefined) throw new Error('the slot is not dirty any more');
    expect(await client.renew(claim)).toMatchObject({ status: 200 });
    expect((await client.release(claim)).body).toEqual({ released: true });
    expect(await client.acquire(queue)).toMatchObject({ status: 200 });
  });

  it('what a cleaner got who hung up is dirty again at once', async () => {
    const queue = anId('q');
    await client.put(queue, { cleanup: true });
    const lease = await client.hold(queue);
    const gone = new AbortController();
    const asked = fetch(`${app.url}/v1/queues/${queue}/clean`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ holder: 'gone', wait_ms: 30_000 }),
      signal: gone.signal,
    }).catch(() => undefined);
    await cleanersWaiting(1);
    gone.abort();
    await asked;
    await cleanersWaiting(0);
    await client.release(lease);
    expect((await cleanOne(queue)).holder).toBe('mop');
  });

  it.each(['failure', 'retry', 'cancelled'] as const)('released as %s the slot is dirty again', async (outcome) => {
    const queue = await dirtyQueue();
    await client.release(await cleanOne(queue), { outcome });
    expect(await cleanOne(queue)).toMatchObject({ attempt: 2, previous: { claim_id: 'soiler' } });
  });

  it('a lease longer than the queue allows is 400 ttl_too_long', async () => {
    expect(await clean(await dirtyQueue(), { ttl_ms: 300_001 })).toMatchObject({
      status: 400,
      body: { code: 'ttl_too_long' },
    });
  });

  it('its claim id is nobody’s to acquire', async () => {
    const queue = await dirtyQueue();
    const { claim_id } = await cleanOne(queue);
    expect(await client.acquire(queue, { claim_id, holder: 'mop' })).toMatchObject({
      status: 409,
      body: { code: 'claim_id_reused' },
    });
  });

  it('a run waits for the cleaner too, and a dead taker’s slot is dirty', async () => {
    const queue = anId('q');
    await client.put(queue, { cleanup: true, retry_delay_ms: 0 });
    await client.enqueue(queue, { claim_id: 'run' });
    const taken = await client.takeOne({ queue, ttl_ms: 1000 });
    const claim = await cleanOne(queue, { wait_ms: 30_000 });
    expect(claim.previous).toMatchObject({
      claim_id: taken.claim_id,
      kind: 'run',
      state: 'waiting',
      reason: 'expired',
    });
    expect((await client.take({ queue })).body).toEqual({ claims: [] });
    expect((await client.get(queue, 'run')).body).toMatchObject({ waiting_for: 'cleanup' });
    const retaken = client.takeOne({ queue, wait_ms: 30_000 });
    await client.release(claim);
    expect(await retaken).toMatchObject({ claim_id: 'run', attempt: 2 });
  });
});

describe('the queue', () => {
  it('is in use while slots are dirty; with force it goes', async () => {
    const queue = await dirtyQueue();
    expect(await client.ask('DELETE', `/v1/queues/${queue}`)).toMatchObject({
      status: 409,
      body: { code: 'queue_in_use', dirty: 1 },
    });
    expect(await client.ask('DELETE', `/v1/queues/${queue}?force=true`)).toMatchObject({ status: 200 });
  });

  it('frees dirty slots when clean-up is turned off', async () => {
    const queue = await dirtyQueue();
    const next = client.acquire(queue, { wait_ms: 30_000 });
    await untilWaiting(client, queue, 1);
    await client.put(queue, { cleanup: false });
    expect(await next).toMatchObject({ status: 200, body: { state: 'held' } });
  });

  it('tells the feed of every step', async () => {
    const queue = await dirtyQueue();
    await client.release(await cleanOne(queue), { outcome: 'failure' });
    await client.release(await cleanOne(queue));
    const wanted = [
      'slot.dirty',
      'lease.granted',
      'lease.released',
      'slot.dirty',
      'lease.granted',
      'lease.released',
      'slot.cleaned',
    ];
    let events: readonly { type: string; kind?: string; attempts?: number }[] = [];
    await until(
      async () => {
        const { body } = await client.ask<{ events: typeof events }>('GET', `/v1/events?queue=${queue}`);
        events = body.events;
        return events.some(({ type }) => type === 'slot.cleaned');
      },
      { what: 'the feed tells of the clean slot', timeoutMs: feedPatienceMs },
    );
    const from = events.findIndex(({ type }) => type === 'slot.dirty');
    expect(events.slice(from).map(({ type }) => type)).toEqual(wanted);
    expect(events.slice(from).map(({ kind, attempts }) => kind ?? attempts)).toEqual([
      0,
      'cleaning',
      'cleaning',
      1,
      'cleaning',
      'cleaning',
      2,
    ]);
  });
});
