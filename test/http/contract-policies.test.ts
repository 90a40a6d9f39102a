import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { EventPage } from '../../src/protocol/events.ts';
import { freshDatabase, type TestDatabase } from '../support/database.ts';
import { anId, type TestClient } from '../support/http-client.ts';
import { startTestApp, type TestApp, untilWaiting } from '../support/test-app.ts';
import { feedPatienceMs, until } from '../support/until.ts';

/** Two replicas, of which one leads: what one of them ends is told by the other. */
let database: TestDatabase;
let apps: readonly TestApp[];
let client: TestClient;
let elsewhere: TestClient;

beforeAll(async () => {
  database = await freshDatabase();
  apps = [await startTestApp(database), await startTestApp(database)];
  [client, elsewhere] = apps.map((app) => app.client) as [TestClient, TestClient];
});
afterAll(async () => {
  for (const app of apps) await app[Symbol.asyncDispose]();
  await database[Symbol.asyncDispose]();
});

const latest = (on: TestClient, queue: string, claim_id: string, more: object = {}) =>
  on.acquire(queue, { claim_id, holder: `holder of ${claim_id}`, mode: 'latest_only', ...more });
const leaseOf = (reply: { readonly body: unknown }) => reply.body as Awaited<ReturnType<TestClient['hold']>>;

describe('cancel_in_progress', () => {
  it('asks older holders of the same label to release; the newest has the place when they do', async () => {
    const queue = anId('q');
    await client.put(queue, { concurrency_limit: 3, supersede_by: 'branch', cancel_in_progress: true });
    const old = await latest(client, queue, 'old', { labels: { branch: 'main' } });
    const other = await latest(client, queue, 'other', { labels: { branch: 'fix' } });
    expect(await latest(elsewhere, queue, 'new', { labels: { branch: 'main' } })).toMatchObject({ status: 200 });
    const newest = latest(elsewhere, queue, 'newest', { labels: { branch: 'main' }, wait_ms: 30_000 });
    await untilWaiting(client, queue, 1);
    expect((await client.renew(leaseOf(old))).body.release_requested).toBe(true);
    expect((await client.renew(leaseOf(other))).body.release_requested).toBe(false);
    expect((await client.queue(queue)).body.holders.map(({ release_requested: asked }) => asked)).toEqual([
      true,
      false,
      true,
    ]);
    await client.release(leaseOf(old), { outcome: 'cancelled' });
    expect(await newest).toMatchObject({ status: 200, body: { state: 'held', claim_id: 'newest' } });
    let asked: EventPage['events'] = [];
    const bothAreTold = async () => {
      const { body } = await client.ask<EventPage>('GET', `/v1/events?queue=${queue}`);
      asked = body.events.filter(({ type }) => type === 'lease.release_requested');
      return asked.length >= 2;
    };
    await until(bothAreTold, { what: 'both in the feed', timeoutMs: feedPatienceMs });
    expect(asked).toMatchObject([
      { claim_id: 'old', reason: 'superseded', detail: 'new' },
      { claim_id: 'new', reason: 'superseded', detail: 'newest' },
    ]);
  }, 60_000);

  it('does so for the operations of a batch', async () => {
    const queue = anId('q');
    await client.put(queue, { concurrency_limit: 2, cancel_in_progress: true });
    const acquire = (claim_id: string) => ({ op: 'acquire', queue, claim_id, holder: claim_id, mode: 'latest_only' });
    const { body } = await client.batch([acquire('a')]);
    await client.batch([acquire('b')]);
    const lease = { queue, claim_id: 'a', fencing_token: body.results?.[0]?.body.fencing_token };
    const renewed = await client.batch([{ op: 'renew', ...lease }]);
    expect(renewed.body.results).toMatchObject([{ status: 200, body: { release_requested: true } }]);
  });

  it('an older holder that retries in vain is told so: released, and superseded', async () => {
    const queue = anId('q');
    await client.put(queue, { cancel_in_progress: true });
    const old = leaseOf(await latest(client, queue, 'old'));
    await latest(client, queue, 'new');
    expect((await client.release(old, { outcome: 'retry' })).body).toEqual({ released: true, state: 'superseded' });
    expect(await latest(client, queue, 'old')).toMatchObject({ status: 410, body: { state: 'superseded' } });
  });
});

describe('on_full', () => {
  it.each([
    { onFull: 'drop_oldest', dropped: 'a' },
    { onFull: 'drop_last', dropped: 'b' },
  ])('$onFull tells who gives way at once, on another replica too', async ({ onFull, dropped }) => {
    const queue = anId('q');
    await client.put(queue, { max_waiting: 2, on_full: onFull });
    await client.hold(queue);
    const polled = new Map<string, ReturnType<TestClient['acquire']>>();
    for (const claim_id of ['a', 'b']) {
      polled.set(claim_id, elsewhere.acquire(queue, { claim_id, wait_ms: 30_000 }));
      await untilWaiting(client, queue, polled.size);
    }
    expect(await client.acquire(queue, { claim_id: 'new', priority: 1 })).toMatchObject({ status: 202 });
    expect(await polled.get(dropped)).toMatchObject({
      status: 410,
      body: { code: 'claim_ended', state: 'superseded', reason: 'overflow' },
    });
    expect(await client.get(queue, dropped)).toMatchObject({ body: { reason: 'overflow', detail: 'new' } });
    expect((await client.queue(queue)).body.waiting).toBe(2);
    await client.put(queue, { paused: true });
    await client.ask('DELETE', `/v1/queues/${queue}?force=true`);
    await Promise.all(polled.values());
  });
});

describe('max_wait_ms', () => {
  it('ends a claim that waits for too long, and tells who waits for it: 410 expired, wait_timeout', async () => {
    const queue = anId('q');
    await client.put(queue, { max_wait_ms: 60_000 });
    await client.hold(queue);
    const [one, two] = [client, elsewhere].map((on, index) =>
      on.acquire(queue, { claim_id: `c${index}`, max_wait_ms: 1000, wait_ms: 30_000 }),
    );
    const ended = { status: 410, body: { code: 'claim_ended', state: 'expired', reason: 'wait_timeout' } };
    expect(await one).toMatchObject(ended);
    expect(await two).toMatchObject(ended);
    expect(await client.get(queue, 'c0')).toMatchObject({ body: { state: 'expired', reason: 'wait_timeout' } });
  });

  it.each([{ max_wait_ms: 999 }, { max_wait_ms: 31_536_000_001 }])('%j of an acquire is refused', async (wait) => {
    expect(await client.acquire(anId('q'), wait)).toMatchObject({ status: 400, body: { code: 'invalid_request' } });
  });
});

describe('closed', () => {
  const closed = { status: 409, body: { code: 'queue_closed' } };

  it('takes no new claims and runs, alone or in a batch, and serves those it has', async () => {
    const queue = anId('q');
    const lease = await client.hold(queue);
    const polled = elsewhere.acquire(queue, { claim_id: 'known', wait_ms: 30_000 });
    await client.enqueue(queue, { claim_id: 'run' });
    await untilWaiting(client, queue, 2);
    await client.put(queue, { closed: true });
    expect(await elsewhere.acquire(queue)).toMatchObject(closed);
    expect(await elsewhere.enqueue(queue)).toMatchObject(closed);
    const { body } = await elsewhere.batch([
      { op: 'acquire', queue, holder: 'me' },
      { op: 'enqueue', queue },
      { op: 'enqueue', queue, claim_id: 'run' },
    ]);
    expect(body.results?.map(({ status, body: { code } }) => [status, code])).toEqual([
      [409, 'queue_closed'],
      [409, 'queue_closed'],
      [200, undefined],
    ]);
    expect(await client.renew(lease)).toMatchObject({ status: 200 });
    await client.release(lease);
    await client.release(leaseOf(await polled));
    expect((await client.takeOne({ queue })).claim_id).toBe('run');
    await client.put(queue, { closed: false });
    expect(await elsewhere.enqueue(queue)).toMatchObject({ status: 201 });
  });

  it('by its pattern a queue is made closed', async () => {
    const prefix = `${anId('closed')}/`;
    await client.ask('PUT', `/v1/queue-patterns/${encodeURIComponent(`${prefix}*`)}`, { closed: true });
    expect(await client.acquire(`${prefix}q`)).toMatchObject(closed);
  });
});
