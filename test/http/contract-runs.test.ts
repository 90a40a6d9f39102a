import { describe, expect, it } from 'vitest';
import { type TestDatabase } from '../support/database.ts';
import { anId, type TestClient } from '../support/http-client.ts';
import { lineUp, shapeOf, startTestApp } from '../support/test-app.ts';
import { until } from '../support/until.ts';
import { oneReplica } from '../support/one-replica.ts';

let database: TestDatabase;
let client: TestClient;
oneReplica((parts) => ({ database, client } = parts));

const queuedShape = {
  claim_id: 'string',
  queue: 'string',
  kind: 'string',
  state: 'string',
  priority: 'integer',
  labels: 'object',
  attempts: 'integer',
  max_attempts: 'integer',
  enqueued_at: 'instant',
  due_at: 'null',
};
const reused = { status: 409, body: { code: 'claim_id_reused' } };
/** Enqueues runs one after another; each must be new. */
async function enqueueAll(queue: string, ...claimIds: readonly string[]): Promise<void> {
  for (const claim_id of claimIds) expect((await client.enqueue(queue, { claim_id })).status).toBe(201);
}
const idsOf = (reply: { body: { claims?: readonly { claim_id: string }[] } }) =>
  reply.body.claims?.map(({ claim_id }) => claim_id);

describe('enqueue', () => {
  it('of a new run is 201 with how it waits', async () => {
    const queue = anId('q');
    const labels = { repository: 'a/b' };
    const reply = await client.enqueue(queue, { claim_id: 'a', priority: 7, labels, max_attempts: 3 });
    expect(reply).toMatchObject({
      status: 201,
      body: { claim_id: 'a', queue, kind: 'run', state: 'waiting', priority: 7, labels, attempts: 0, max_attempts: 3 },
    });
    expect(shapeOf(reply.body)).toEqual(queuedShape);
    expect((await client.queue(queue)).body).toMatchObject({ waiting: 1, runs: 1, delayed: 0, held: 0 });
  });

  it('without claim_id makes one, and takes max_attempts from the queue', async () => {
    const queue = anId('q');
    await client.put(queue, { max_attempts: 9 });
    const made = [await client.enqueue(queue), await client.enqueue(queue)];
    expect(made).toMatchObject([
      { status: 201, body: { max_attempts: 9 } },
      { status: 201, body: { max_attempts: 9 } },
    ]);
    const ids = made.map(({ body }) => 'claim_id' in body && body.claim_id);
    expect(new Set(ids).size).toBe(2);
  });

  it('of an id that is there is 200, and the first one stays as it is', async () => {
    const queue = anId('q');
    await client.enqueue(queue, { claim_id: 'a', payload: 1, priority: 1 });
    const again = await client.enqueue(queue, { claim_id: 'a', payload: 2, priority: 2 });
    expect(again).toMatchObject({ status: 200, body: { kind: 'run', state: 'waiting', priority: 1 } });
    expect(shapeOf(again.body)).toEqual(queuedShape);
    expect((await client.queue(queue)).body.runs).toBe(1);
    expect(await client.takeOne({ queue })).toMatchObject({ payload: 1 });
  });

  it('of an id that is held is 200 with the lease, of one that has ended 200 with its end; it does not run again', async () => {
    const queue = anId('q');
    await enqueueAll(queue, 'a');
    const taken = await client.takeOne({ queue });
    expect(await client.enqueue(queue, { claim_id: 'a' })).toMatchObject({
      status: 200,
      body: { kind: 'run', state: 'held', attempt: 1, holder: taken.holder, fencing_token: taken.fencing_token },
    });
    await client.release(taken, { outcome: 'success' });
    expect(await client.enqueue(queue, { claim_id: 'a' })).toMatchObject({
      status: 200,
      body: { kind: 'run', state: 'released', reason: 'released', outcome: 'success' },
    });
    expect(await client.take({ queue })).toMatchObject({ status: 200, body: { claims: [] } });
  });

  it('of an id that ended longer ago than claim_memory_ms is new', async () => {
    const queue = anId('q');
    await client.put(queue, { claim_memory_ms: 1000 });
    await enqueueAll(queue, 'a');
    await client.release(await client.takeOne({ queue }));
    await until(async () => (await client.enqueue(queue, { claim_id: 'a' })).status === 201, { what: 'a is new' });
    expect(await client.takeOne({ queue })).toMatchObject({ claim_id: 'a' });
  });

  it('of an id that an acquire has, waiting or held, is 409 claim_id_reused; so is the other way round', async () => {
    const queue = anId('q');
    await client.hold(queue, { claim_id: 'held' });
    await lineUp(client, queue, 'waits');
    expect(await client.enqueue(queue, { claim_id: 'held' })).toMatchObject(reused);
    expect(await client.enqueue(queue, { claim_id: 'waits' })).toMatchObject(reused);
    await enqueueAll(queue, 'run');
    expect(await client.acquire(queue, { claim_id: 'run' })).toMatchObject(reused);
    await client.cancel(queue, 'run');
    expect(await client.acquire(queue, { claim_id: 'run' })).toMatchObject({
      status: 410,
      body: { code: 'claim_ended', state: 'cancelled' },
    });
    await client.cancel(queue, 'waits');
    expect(await client.enqueue(queue, { claim_id: 'waits' })).toMatchObject(reused);
  });

  it('with delay_ms is delayed, and nobody gets the run before its time', async () => {
    const queue = anId('q');
    const reply = await client.enqueue(queue, { claim_id: 'a', delay_ms: 1000 });
    expect(reply).toMatchObject({ status: 201, body: { state: 'delayed' } });
    expect(shapeOf(reply.body)).toEqual({ ...queuedShape, due_at: 'instant' });
    const { due_at, enqueued_at } = reply.body as { due_at: string; enqueued_at: string };
    expect(Date.parse(due_at) - Date.parse(enqueued_at)).toBe(1000);
    expect((await client.enqueue(queue, { claim_id: 'a' })).body).toEqual(reply.body);
    expect((await client.queue(queue)).body).toMatchObject({ waiting: 0, runs: 0, delayed: 1, blocked: false });
    expect(await client.take({ queue })).toMatchObject({ body: { claims: [] } });
    const taken = await client.takeOne({ queue, wait_ms: 20_000 });
    expect(Date.parse(taken.acquired_at)).toBeGreaterThanOrEqual(Date.parse(due_at));
  });

  it('a delayed run does not keep those behind it waiting', async () => {
    const queue = anId('q');
    await client.enqueue(queue, { claim_id: 'later', priority: 5, delay_ms: 60_000 });
    await enqueueAll(queue, 'now');
    expect(await client.takeOne({ queue })).toMatchObject({ claim_id: 'now' });
  });

  it('above max_runs is 429 queue_full; an id that is there is told how it stands', async () => {
    const queue = anId('q');
    await client.put(queue, { max_runs: 2 });
    await enqueueAll(queue, 'a');
    expect((await client.enqueue(queue, { claim_id: 'b', delay_ms: 60_000 })).status).toBe(201);
    expect(await client.enqueue(queue, { claim_id: 'c' })).toMatchObject({ status: 429, body: { code: 'queue_full' } });
    expect((await client.enqueue(queue, { claim_id: 'a' })).status).toBe(200);
    await client.takeOne({ queue });
    await enqueueAll(queue, 'c');
  });

  it('of a payload above 262144 bytes is 413 payload_too_large, and nothing is done', async () => {
    const queue = anId('q');
    expect(await client.enqueue(queue, { claim_id: 'a', payload: 'x'.repeat(262_143) })).toMatchObject({
      status: 413,
      body: { code: 'payload_too_large' },
    });
    expect(await client.queue(queue)).toMatchObject({ status: 404, body: { code: 'queue_not_found' } });
    expect((await client.enqueue(queue, { claim_id: 'a', payload: 'x'.repeat(262_142) })).status).toBe(201);
  });

  it('holds no place: an acquire beside waiting runs is granted', async () => {
    const queue = anId('q');
    await enqueueAll(queue, 'a', 'b');
    const lease = await client.hold(queue);
    expect(await client.take({ queue })).toMatchObject({ body: { claims: [] } });
    await client.release(lease);
    expect(await client.takeOne({ queue })).toMatchObject({ claim_id: 'a' });
  });

  it('wants names and numbers in their ranges', async () => {
    const queue = anId('q');
    for (const body of [
      { claim_id: 'a b' },
      { delay_ms: -1 },
      { max_attempts: 0 },
      { max_age_ms: 10 },
      { holder: 'h' },
    ])
      expect(await client.enqueue(queue, body)).toMatchObject({ status: 400, body: { code: 'invalid_request' } });
    expect(await client.enqueue('a b')).toMatchObject({ status: 400, body: { code: 'invalid_request' } });
    expect((await client.queue(queue)).status).toBe(404);
  });
});

describe('take', () => {
  it('gives a lease with kind, attempt and payload; GET shows it without the payload', async () => {
    const queue = anId('q');
    await client.enqueue(queue, { claim_id: 'a', payload: { n: 1 }, priority: 3, labels: { k: 'v' } });
    const taken = await client.takeOne({ queue, holder: 'worker 1', ttl_ms: 20_000 });
    expect(taken).toMatchObject({
      claim_id: 'a',
      queue,
      kind: 'run',
      state: 'held',
      holder: 'worker 1',
      attempt: 1,
      max_attempts: 5,
      priority: 3,
      labels: { k: 'v' },
      payload: { n: 1 },
      slot: 1,
      ttl_ms: 20_000,
      release_requested: false,
    });
    expect(taken.ttl_remaining_ms).toBeGreaterThan(15_000);
    const lease = shapeOf(await client.hold(anId('q')));
    expect(shapeOf(taken)).toEqual({ ...lease, max_attempts: 'integer', payload: 'object' });
    const seen = await client.get(queue, 'a');
    expect(shapeOf(seen.body)).toEqual(lease);
    expect(seen.body).toMatchObject({ kind: 'run', attempt: 1, fencing_token: taken.fencing_token });
  });

  it('gives by priority, then in the order of enqueueing', async () => {
    const queue = anId('q');
    await client.put(queue, { concurrency_limit: null });
    for (const [claim_id, priority] of [
      ['a', 0],
      ['b', 5],
      ['c', -5],
      ['d', 5],
      ['e', 0],
    ] as const)
      await client.enqueue(queue, { claim_id, priority });
    expect(idsOf(await client.take({ queue, max: 2 }))).toEqual(['b', 'd']);
    const rest = await client.take({ queue, max: 1000 });
    expect(idsOf(rest)).toEqual(['a', 'e', 'c']);
    const tokens = rest.body.claims?.map(({ fencing_token }) => fencing_token) ?? [];
    expect(tokens).toEqual(tokens.toSorted((a, b) => a - b));
  });

  it('never gives more than the limit, nothing at 0 or while paused, and goes on when that is lifted', async () => {
    const queue = anId('q');
    await client.put(queue, { concurrency_limit: 2 });
    await enqueueAll(queue, 'a', 'b', 'c', 'd');
    const first = await client.take({ queue, max: 10 });
    expect(idsOf(first)).toEqual(['a', 'b']);
    expect(idsOf(await client.take({ queue, max: 10 }))).toEqual([]);
    await client.put(queue, { concurrency_limit: 0 });
    for (const lease of first.body.claims ?? []) await client.release(lease);
    expect(idsOf(await client.take({ queue, max: 10 }))).toEqual([]);
    await client.put(queue, { concurrency_limit: 1, paused: true });
    expect(idsOf(await client.take({ queue, max: 10 }))).toEqual([]);
    await client.put(queue, { paused: false });
    expect(idsOf(await client.take({ queue, max: 10 }))).toEqual(['c']);
  });

  it('of a queue with nothing to take, or that nobody made, is 200 with no claims', async () => {
    const queue = anId('q');
    expect(await client.take({ queue })).toMatchObject({ status: 200, body: { claims: [] } });
    await client.put(queue, {});
    expect(await client.take({ queue })).toMatchObject({ status: 200, body: { claims: [] } });
  });

  it('with wait_ms waits for a run, enqueued here or at another replica', async () => {
    await using second = await startTestApp(database);
    for (const enqueuer of [client, second.client]) {
      const queue = anId('q');
      const asked = client.take({ queue, wait_ms: 30_000 });
      const sentAtMs = performance.now();
      await enqueuer.enqueue(queue, { claim_id: 'a' });
      expect(idsOf(await asked)).toEqual(['a']);
      expect(performance.now() - sentAtMs).toBeLessThan(5000);
    }
  });

  it('with wait_ms waits for a free place, and for no longer than that', async () => {
    const queue = anId('q');
    await enqueueAll(queue, 'a', 'b');
    const first = await client.takeOne({ queue });
    const asked = client.take({ queue, wait_ms: 30_000 });
    await client.release(first);
    expect(idsOf(await asked)).toEqual(['b']);
    const sentAtMs = performance.now();
    expect(idsOf(await client.take({ queue, wait_ms: 300 }))).toEqual([]);
    expect(performance.now() - sentAtMs).toBeGreaterThan(250);
  });

  it('of many at once each gets a run of its own', async () => {
    const queue = anId('q');
    await client.put(queue, { concurrency_limit: null });
    const asked = Array.from({ length: 20 }, () => client.take({ queue, max: 2, wait_ms: 30_000 }));
    for (let i = 0; i < 40; i++) await client.enqueue(queue, { claim_id: `r${i}` });
    const replies = await Promise.all(asked);
    const taken = replies.flatMap((reply) => idsOf(reply) ?? []);
    expect(replies.every((reply) => (idsOf(reply)?.length ?? 0) > 0)).toBe(true);
    expect(new Set(taken).size).toBe(taken.length);
  });

  it('whose client has hung up takes nothing: the next one gets the run, as its first attempt', async () => {
    const queue = anId('q');
    const hangUp = new AbortController();
    const asked = client.take({ queue, wait_ms: 30_000 }, { signal: hangUp.signal });
    setTimeout(() => hangUp.abort(), 200);
    await expect(asked).rejects.toThrow('abort');
    await enqueueAll(queue, 'a');
    expect(await client.takeOne({ queue, wait_ms: 10_000 })).toMatchObject({ claim_id: 'a', attempt: 1 });
  });

  it('with a prefix takes from all queues whose names begin so, each with its own limit, and from no other', async () => {
    const tag = anId('t');
    await client.put(`${tag}/two`, { concurrency_limit: 2 });
    for (const queue of [`${tag}/one`, `${tag}/two`, tag, `${tag}-other`]) await enqueueAll(queue, 'a', 'b', 'c');
    const taken = await client.take({ prefix: `${tag}/`, max: 100 });
    const names = taken.body.claims?.map(({ queue, claim_id }) => `${queue} ${claim_id}`).sort();
    expect(names).toEqual([`${tag}/one a`, `${tag}/two a`, `${tag}/two b`]);
    expect(await client.take({ prefix: `${tag}/`, max: 100 })).toMatchObject({ body: { claims: [] } });
    expect(await client.takeOne({ prefix: tag })).toMatchObject({ claim_id: 'a' });
  });

  it("with prefix '' takes from any queue", async () => {
    const queue = anId('q');
    await enqueueAll(queue, 'a');
    const ids = await until(
      async () => {
        const { claims = [] } = (await client.take({ prefix: '', max: 1000 })).body;
        return claims.some((claim) => claim.queue === queue) ? claims : undefined;
      },
      { what: 'the run is taken' },
    );
    expect(ids.find((claim) => claim.queue === queue)).toMatchObject({ claim_id: 'a' });
  });

  it('again with the same holder and request_id gives the same claims, those that are still held, and no others', async () => {
    const queue = anId('q');
    await client.put(queue, { concurrency_limit: null });
    for (const claim_id of ['a', 'b', 'c']) await client.enqueue(queue, { claim_id, payload: { of: claim_id } });
    const request = { queue, holder: anId('worker'), max: 2, request_id: 'r1' };
    const first = await client.take(request);
    expect(idsOf(first)).toEqual(['a', 'b']);
    const again = await client.take({ ...request, wait_ms: 30_000 });
    const known = (reply: typeof first) =>
      reply.body.claims?.map(({ claim_id, fencing_token, payload }) => ({ claim_id, fencing_token, payload }));
    expect(known(again)).toEqual(known(first));
    const [a] = first.body.claims ?? [];
    if (a !== undefined) await client.release(a);
    expect(idsOf(await client.take(request))).toEqual(['b']);
    expect(idsOf(await client.take({ ...request, holder: anId('worker') }))).toEqual(['c']);
    expect(idsOf(await client.take({ ...request, request_id: 'r2' }))).toEqual([]);
  });

  it('with a ttl_ms above max_ttl_ms is 400 for a queue by name, and shortened for a prefix', async () => {
    const queue = anId('q');
    await client.put(queue, { max_ttl_ms: 40_000, default_ttl_ms: 20_000, concurrency_limit: 2 });
    await enqueueAll(queue, 'a', 'b');
    expect(await client.take({ queue, ttl_ms: 40_001 })).toMatchObject({ status: 400, body: { code: 'ttl_too_long' } });
    expect((await client.queue(queue)).body.held).toBe(0);
    expect(await client.takeOne({ prefix: queue, ttl_ms: 50_000 })).toMatchObject({ claim_id: 'a', ttl_ms: 40_000 });
    expect(await client.takeOne({ queue })).toMatchObject({ claim_id: 'b', ttl_ms: 20_000 });
  });

  it('gives at most 4 MiB of payloads at once, and the rest to the next', async () => {
    const queue = anId('q');
    await client.put(queue, { concurrency_limit: null });
    const payload = 'x'.repeat(262_142);
    for (let i = 0; i < 18; i++) await client.enqueue(queue, { claim_id: `r${i}`, payload });
    const first = await client.take({ queue, max: 100 });
    const rest = await client.take({ queue, max: 100 });
    expect([first.body.claims?.length, rest.body.claims?.length]).toEqual([16, 2]);
    expect(first.body.claims?.every((claim) => claim.payload === payload)).toBe(true);
  });

  it.each([
    {},
    { queue: 'q', prefix: '' },
    { queue: 'a b' },
    { prefix: 'a b' },
    { queue: 'q', max: 0 },
    { queue: 'q', max: 1001 },
    { queue: 'q', holder: '' },
    { queue: 'q', wait_ms: 60_001 },
    { queue: 'q', request_id: 'a b' },
    { queue: 'q', claim_id: 'a' },
  ])('of %j is 400', async (body) => {
    expect(await client.take(body)).toMatchObject({ status: 400, body: { code: 'invalid_request' } });
  });
});

describe('without queues made on first use', () => {
  it('enqueue and take of a queue that nobody made are 404 queue_not_found, a prefix finds nothing', async () => {
    await using strict = await startTestApp(database, { AUTO_CREATE_QUEUES: 'false' });
    const queue = anId('q');
    const notFound = { status: 404, body: { code: 'queue_not_found' } };
    expect(await strict.client.enqueue(queue)).toMatchObject(notFound);
    expect(await strict.client.take({ queue })).toMatchObject(notFound);
    expect(await strict.client.take({ prefix: queue })).toMatchObject({ status: 200, body: { claims: [] } });
    await client.put(queue, {});
    expect((await strict.client.enqueue(queue, { claim_id: 'a' })).status).toBe(201);
    expect(await strict.client.takeOne({ queue })).toMatchObject({ claim_id: 'a' });
  });
});

describe('a run in line', () => {
  it('is shown by GET, and cancel and break end it', async () => {
    const queue = anId('q');
    await enqueueAll(queue, 'a', 'b', 'c');
    expect(await client.get(queue, 'a')).toMatchObject({
      status: 200,
      body: { kind: 'run', state: 'waiting', attempt: 0, waiting_for: 'taker', position: 1 },
    });
    expect(await client.cancel(queue, 'a')).toMatchObject({ status: 200, body: { kind: 'run', state: 'cancelled' } });
    expect(await client.ask('POST', `/v1/queues/${queue}/claims/b/break`, { reason: 'r', actor: 'op' })).toMatchObject({
      status: 200,
      body: { kind: 'run', state: 'broken' },
    });
    expect(await client.enqueue(queue, { claim_id: 'a' })).toMatchObject({ status: 200, body: { state: 'cancelled' } });
    expect(idsOf(await client.take({ queue, max: 10 }))).toEqual(['c']);
  });
});
