import { describe, expect, it } from 'vitest';
import type { held } from '../support/http-client.ts';
import { anId, type TestClient, waiting } from '../support/http-client.ts';
import { lineUp, shapeOf } from '../support/test-app.ts';
import { oneReplica } from '../support/one-replica.ts';

let client: TestClient;
oneReplica((parts) => ({ client } = parts));

const ask = (queue: string, body: object) => client.ask('POST', `/v1/queues/${queue}/acquire`, body);
const described = {
  claim_id: 'string',
  queue: 'string',
  kind: 'string',
  attempt: 'integer',
  holder: 'string',
  priority: 'integer',
  mode: 'string',
  labels: 'object',
  metadata: 'object',
  enqueued_at: 'instant',
};

describe('acquire, granted', () => {
  it('answers 200 with every field of a lease', async () => {
    const queue = anId('q');
    const reply = await ask(queue, { holder: 'me' });
    expect(reply.status).toBe(200);
    expect(reply.headers.get('content-type')).toBe('application/json; charset=utf-8');
    expect(shapeOf(reply.body)).toEqual({
      ...described,
      state: 'string',
      fencing_token: 'integer',
      slot: 'integer',
      ttl_ms: 'integer',
      ttl_remaining_ms: 'integer',
      waited_ms: 'integer',
      renew_after_ms: 'integer',
      release_requested: 'boolean',
      acquired_at: 'instant',
      renewed_at: 'instant',
      expires_at: 'instant',
    });
  });

  it('has the defaults: a claim_id made here, priority 0, ttl 30000, mode wait, no labels, no metadata, no wait', async () => {
    const queue = anId('q');
    const first = await ask(queue, { holder: 'me' });
    expect(first.body).toMatchObject({
      queue,
      state: 'held',
      holder: 'me',
      priority: 0,
      ttl_ms: 30_000,
      mode: 'wait',
      labels: {},
      metadata: {},
      slot: 1,
      release_requested: false,
      claim_id: expect.stringMatching(/^[0-9a-f-]{36}$/) as string,
    });
    const sentAtMs = performance.now();
    const second = await ask(queue, { holder: 'other' });
    expect(second.status).toBe(202);
    expect(performance.now() - sentAtMs).toBeLessThan(5000);
    expect(second.body).toMatchObject({ ttl_ms: 30_000, priority: 0, mode: 'wait' });
  });

  it('keeps what it was told, and the times fit together', async () => {
    const told = {
      holder: 'host:1:é "quoted"',
      claim_id: anId('a/b:c@d'),
      priority: -3,
      ttl_ms: 60_000,
      labels: { team: 'π', empty: '' },
      metadata: { nested: { list: [1, null, 'x', 1.5, true] } },
    };
    const lease = (await ask(anId('q'), told)).body as ReturnType<typeof held>;
    expect(lease).toMatchObject(told);
    expect(Date.parse(lease.expires_at) - Date.parse(lease.acquired_at)).toBe(60_000);
    expect(lease.ttl_remaining_ms).toBeGreaterThan(50_000);
    expect(lease.ttl_remaining_ms).toBeLessThanOrEqual(60_000);
    expect(lease.renew_after_ms).toBe(Math.floor(lease.ttl_remaining_ms / 3));
    expect(lease.fencing_token).toBeLessThan(2 ** 53);
  });

  it.each([1000, 300_000])('a ttl_ms of %i is granted', async (ttl_ms) => {
    expect(await client.acquire(anId('q'), { ttl_ms })).toMatchObject({ status: 200, body: { ttl_ms } });
  });

  it('the longest names and holders are kept as they are', async () => {
    const names = { claim_id: '/'.repeat(200), holder: '🚂'.repeat(100) };
    expect(await client.acquire('@'.repeat(200), names)).toMatchObject({ status: 200, body: names });
  });
});

describe('acquire, waiting', () => {
  it('answers 202 with every field of a place in line', async () => {
    const queue = anId('q');
    const lease = await client.hold(queue, { claim_id: 'first' });
    const reply = await ask(queue, { holder: 'me', claim_id: 'second' });
    expect(reply.status).toBe(202);
    expect(shapeOf(reply.body)).toEqual({
      ...described,
      state: 'string',
      due_at: 'null',
      ttl_ms: 'integer',
      position: 'integer',
      position_exact: 'boolean',
      ahead: 'integer',
      queue_depth: 'integer',
      waiting_for: 'string',
      why: 'string',
      estimated_wait_ms: 'null',
      blocked_by: 'array',
      earlier_grants: 'array',
      poll_after_ms: 'integer',
    });
    const claim = waiting(reply as Awaited<ReturnType<TestClient['acquire']>>);
    expect(claim).toMatchObject({ position: 1, ahead: 0, queue_depth: 1, waiting_for: 'no_free_slot' });
    expect(claim.blocked_by).toEqual([
      { claim_id: 'first', holder: lease.holder, slot: 1, ttl_remaining_ms: expect.any(Number) as number },
    ]);
    expect(claim.poll_after_ms).toBeGreaterThan(0);
  });

  it('position counts from 1, ahead is one less, poll_after_ms is at most 3000 for everybody', async () => {
    const queue = anId('q');
    await client.hold(queue);
    await lineUp(client, queue, 'a', 'b', 'c', 'd');
    for (const [index, claimId] of ['a', 'b', 'c', 'd'].entries()) {
      const claim = waiting(await client.get(queue, claimId));
      expect(claim).toMatchObject({ position: index + 1, ahead: index, queue_depth: 4 });
      expect(claim.waiting_for).toBe(index === 0 ? 'no_free_slot' : 'behind_others');
      expect(claim.poll_after_ms).toBeLessThanOrEqual(3000);
    }
  });

  it('higher priority goes first, equal priority by arrival', async () => {
    const queue = anId('q');
    await client.hold(queue);
    for (const [claim_id, priority] of Object.entries({ low: -1, a: 0, high: 5, b: 0, top: 1_000_000 })) {
      await client.acquire(queue, { claim_id, priority });
    }
    const line = (await client.queue(queue)).body.line;
    expect(line.map((claim) => claim.claim_id)).toEqual(['top', 'high', 'a', 'b', 'low']);
  });

  it('says for how many places a heavy claim waits, and names as many holders as there are', async () => {
    const queue = anId('q');
    await client.put(queue, { concurrency_limit: 3 });
    const lease = await client.hold(queue, { claim_id: 'light' });
    expect(await client.acquire(queue, { claim_id: 'heavy', weight: 3 })).toMatchObject({
      body: { weight: 3, why: `next in line for 3 places; 1 of 3 places taken, by ${lease.holder}` },
    });
  });

  it('waiting_for says paused, limit_zero and lock_delay', async () => {
    const queue = anId('q');
    await client.put(queue, { paused: true });
    expect(await client.acquire(queue, { claim_id: 'a' })).toMatchObject({ body: { waiting_for: 'paused' } });
    await client.put(queue, { paused: false, concurrency_limit: 0 });
    expect(await client.get(queue, 'a')).toMatchObject({ body: { waiting_for: 'limit_zero', blocked_by: [] } });

    const delayed = anId('q');
    await client.put(delayed, { lock_delay_ms: 600_000 });
    await client.hold(delayed, { claim_id: 'broken' });
    await client.ask('POST', `/v1/queues/${delayed}/claims/broken/break`, { reason: 'r', actor: 'a' });
    expect(await client.acquire(delayed, { claim_id: 'next' })).toMatchObject({
      status: 202,
      body: { waiting_for: 'lock_delay', blocked_by: [] },
    });
  });

  it('blocked_by lists at most ten holders, by slot', async () => {
    const queue = anId('q');
    await client.put(queue, { concurrency_limit: 12 });
    for (let i = 0; i < 12; i++) await client.hold(queue);
    const claim = waiting(await client.acquire(queue));
    expect(claim.blocked_by.map(({ slot }) => slot)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
  });
});

describe('the same call again', () => {
  it('gives a holder its lease, with the same token', async () => {
    const queue = anId('q');
    const body = { claim_id: 'c', holder: 'me' };
    const first = await client.hold(queue, body);
    const again = await client.hold(queue, { ...body, ttl_ms: 60_000, priority: 7 });
    expect({ ...again, waited_ms: 0, ttl_remaining_ms: 0, renew_after_ms: 0 }).toEqual({
      ...first,
      waited_ms: 0,
      ttl_remaining_ms: 0,
      renew_after_ms: 0,
    });
  });

  it('gives a waiting claim its old place', async () => {
    const queue = anId('q');
    await client.hold(queue);
    await lineUp(client, queue, 'a', 'b');
    const again = waiting(await client.acquire(queue, { claim_id: 'a', holder: 'holder of a' }));
    expect(again).toMatchObject({ position: 1, queue_depth: 2 });
  });

  it('is 410 claim_ended with state and reason once the claim is over', async () => {
    const queue = anId('q');
    const lease = await client.hold(queue, { claim_id: 'c', holder: 'me' });
    await client.release(lease);
    const reply = await client.acquire(queue, { claim_id: 'c', holder: 'me' });
    expect(reply).toMatchObject({
      status: 410,
      body: { code: 'claim_ended', state: 'released', reason: 'released', status: 410 },
    });
    expect(reply.headers.get('content-type')).toBe('application/problem+json');
  });

  it('by another holder is 409 claim_id_reused, held or waiting, and changes nothing', async () => {
    const queue = anId('q');
    await client.hold(queue, { claim_id: 'c', holder: 'me' });
    await lineUp(client, queue, 'w');
    for (const claim_id of ['c', 'w']) {
      for (const mode of ['wait', 'skip_if_busy', 'latest_only'] as const) {
        expect(await client.acquire(queue, { claim_id, holder: 'thief', mode })).toMatchObject({
          status: 409,
          body: { code: 'claim_id_reused' },
        });
      }
    }
    expect(await client.get(queue, 'c')).toMatchObject({ body: { state: 'held', holder: 'me' } });
    expect(await client.get(queue, 'w')).toMatchObject({ body: { state: 'waiting', holder: 'holder of w' } });
  });

  it('the same claim_id in another queue is another claim', async () => {
    const [one, other] = [anId('q'), anId('q')];
    await client.hold(one, { claim_id: 'c', holder: 'me' });
    expect((await client.hold(other, { claim_id: 'c', holder: 'you' })).queue).toBe(other);
  });
});
