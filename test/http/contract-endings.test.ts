import { describe, expect, it } from 'vitest';
import { type TestDatabase } from '../support/database.ts';
import { anId, type TestClient } from '../support/http-client.ts';
import { lineUp, shapeOf, startTestApp, untilWaiting } from '../support/test-app.ts';
import { oneReplica } from '../support/one-replica.ts';

let database: TestDatabase;
let client: TestClient;
oneReplica((parts) => ({ database, client } = parts));

const ended = {
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
  state: 'string',
  reason: 'string',
  ended_at: 'instant',
  error: 'null',
};
const notHeld = { outcome: 'null', fencing_token: 'null', slot: 'null', acquired_at: 'null' };
const breakClaim = (queue: string, claimId: string, body: object = { reason: 'it hangs', actor: 'op@example' }) =>
  client.ask('POST', `/v1/queues/${queue}/claims/${claimId}/break`, body);
const claimNotFound = { status: 404, body: { code: 'claim_not_found' } };
const queueNotFound = { status: 404, body: { code: 'queue_not_found' } };

describe('cancel', () => {
  it('ends a waiting claim at once; the line moves up', async () => {
    const queue = anId('q');
    await client.hold(queue);
    await lineUp(client, queue, 'a', 'b');
    const reply = await client.cancel(queue, 'a');
    expect(reply).toMatchObject({ status: 200, body: { state: 'cancelled', reason: 'cancelled' } });
    expect(shapeOf(reply.body)).toEqual({ ...ended, ...notHeld, actor: 'null', detail: 'null' });
    expect(await client.get(queue, 'b')).toMatchObject({ body: { position: 1, queue_depth: 1 } });
    expect(await client.acquire(queue, { claim_id: 'a', holder: 'holder of a' })).toMatchObject({
      status: 410,
      body: { code: 'claim_ended', state: 'cancelled', reason: 'cancelled' },
    });
  });

  it('wakes the waiting client with 410 claim_ended, and a GET with the ended claim', async () => {
    const queue = anId('q');
    await client.hold(queue);
    const asking = client.acquire(queue, { claim_id: 'a', wait_ms: 30_000 });
    await untilWaiting(client, queue, 1);
    const looking = client.get(queue, 'a', { waitMs: 30_000 });
    await client.cancel(queue, 'a');
    expect(await asking).toMatchObject({ status: 410, body: { code: 'claim_ended', state: 'cancelled' } });
    expect(await looking).toMatchObject({ status: 200, body: { state: 'cancelled', reason: 'cancelled' } });
  });

  it('asks the holder of a held claim to stop, and takes nothing from it', async () => {
    const queue = anId('q');
    const lease = await client.hold(queue);
    const reply = await client.cancel(queue, lease.claim_id);
    expect(reply).toMatchObject({
      status: 200,
      body: { state: 'held', release_requested: true, fencing_token: lease.fencing_token },
    });
    expect(await client.get(queue, lease.claim_id)).toMatchObject({ body: { state: 'held', release_requested: true } });
    expect((await client.queue(queue)).body.holders).toMatchObject([{ release_requested: true }]);
    expect(await client.release(lease)).toMatchObject({ body: { released: true } });
  });

  it('of a grant that nobody has heard of passes the place on', async () => {
    const queue = anId('q');
    const lease = await client.hold(queue);
    await lineUp(client, queue, 'silent', 'next');
    await client.release(lease);
    expect((await client.queue(queue)).body.holders).toMatchObject([{ claim_id: 'silent' }]);
    expect(await client.cancel(queue, 'silent')).toMatchObject({ status: 200, body: { state: 'cancelled' } });
    expect(await client.get(queue, 'next')).toMatchObject({ body: { state: 'held' } });
    expect(await client.get(queue, 'silent')).toMatchObject({ body: { state: 'cancelled', reason: 'cancelled' } });
  });

  it('of an ended claim is 200 and changes nothing', async () => {
    const queue = anId('q');
    const lease = await client.hold(queue);
    await client.release(lease);
    const before = (await client.get(queue, lease.claim_id)).body;
    const reply = await client.cancel(queue, lease.claim_id);
    expect(reply).toMatchObject({ status: 200, body: { state: 'released', reason: 'released' } });
    expect((await client.get(queue, lease.claim_id)).body).toEqual(before);
    expect(reply.body).toEqual(before);
  });

  it('of an unknown claim or queue is 404', async () => {
    const { queue } = await client.hold(anId('q'));
    expect(await client.cancel(queue, 'nobody')).toMatchObject(claimNotFound);
    expect(await client.cancel(anId('q'), 'nobody')).toMatchObject(queueNotFound);
  });
});

describe('break', () => {
  it('ends a held claim by force; reason and actor are shown by GET', async () => {
    const queue = anId('q');
    const lease = await client.hold(queue);
    await lineUp(client, queue, 'next');
    const reply = await breakClaim(queue, lease.claim_id);
    expect(reply).toMatchObject({
      status: 200,
      body: { state: 'broken', reason: 'broken', actor: 'op@example', detail: 'it hangs' },
    });
    expect(shapeOf(reply.body)).toEqual({
      ...ended,
      outcome: 'null',
      fencing_token: 'integer',
      slot: 'integer',
      acquired_at: 'instant',
      actor: 'string',
      detail: 'string',
    });
    expect((await client.get(queue, lease.claim_id)).body).toEqual(reply.body);
    expect(await client.get(queue, 'next')).toMatchObject({ body: { state: 'held' } });
  });

  it('ends a waiting claim too', async () => {
    const queue = anId('q');
    await client.hold(queue);
    await lineUp(client, queue, 'a');
    expect(await breakClaim(queue, 'a')).toMatchObject({ status: 200, body: { state: 'broken', actor: 'op@example' } });
    expect(await client.acquire(queue, { claim_id: 'a', holder: 'holder of a' })).toMatchObject({
      status: 410,
      body: {
        code: 'claim_ended',
        state: 'broken',
        reason: 'broken',
        detail: 'Claim a of queue ' + queue + ' has ended: broken (broken).',
      },
    });
  });

  it('of a waiting claim wakes its client, here and on another replica, with 410 claim_ended', async () => {
    await using second = await startTestApp(database);
    const queue = anId('q');
    await client.hold(queue);
    const near = client.acquire(queue, { claim_id: 'near', wait_ms: 30_000 });
    const far = second.client.acquire(queue, { claim_id: 'far', wait_ms: 30_000 });
    await untilWaiting(client, queue, 2);
    await breakClaim(queue, 'near');
    await breakClaim(queue, 'far');
    for (const polled of [near, far]) {
      expect(await polled).toMatchObject({ status: 410, body: { code: 'claim_ended', reason: 'broken' } });
    }
  });

  it('of an ended claim is 200 and leaves it as it ended', async () => {
    const lease = await client.hold(anId('q'));
    await client.release(lease);
    expect(await breakClaim(lease.queue, lease.claim_id)).toMatchObject({
      status: 200,
      body: { state: 'released', reason: 'released', actor: null },
    });
  });

  it.each([{}, { reason: 'r' }, { actor: 'a' }, { reason: '', actor: 'a' }, { reason: 'r', actor: 'a', force: true }])(
    'wants reason and actor: %j is 400',
    async (body) => {
      const lease = await client.hold(anId('q'));
      expect(await breakClaim(lease.queue, lease.claim_id, body)).toMatchObject({
        status: 400,
        body: { code: 'invalid_request' },
      });
      expect(await client.get(lease.queue, lease.claim_id)).toMatchObject({ body: { state: 'held' } });
    },
  );

  it('of an unknown claim or queue is 404', async () => {
    const { queue } = await client.hold(anId('q'));
    expect(await breakClaim(queue, 'nobody')).toMatchObject(claimNotFound);
    expect(await breakClaim(anId('q'), 'nobody')).toMatchObject(queueNotFound);
  });

  it('keeps the slot empty for lock_delay_ms, counted in waiting_for', async () => {
    const queue = anId('q');
    await client.put(queue, { lock_delay_ms: 1000 });
    const lease = await client.hold(queue);
    await breakClaim(queue, lease.claim_id);
    const sentAtMs = performance.now();
    const next = await client.hold(queue, { wait_ms: 20_000 });
    expect(performance.now() - sentAtMs).toBeGreaterThan(500);
    expect(next.slot).toBe(lease.slot);
  });
});

describe('GET of a claim', () => {
  it('shows a held one as the lease, with the same fields as acquire', async () => {
    const lease = await client.hold(anId('q'));
    const reply = await client.get(lease.queue, lease.claim_id);
    expect(reply.status).toBe(200);
    expect(shapeOf(reply.body)).toEqual(shapeOf(lease));
    expect(reply.body).toMatchObject({ fencing_token: lease.fencing_token, holder: lease.holder, slot: 1 });
  });

  it('shows a waiting one with 200 and the same fields as acquire', async () => {
    const { queue } = await client.hold(anId('q'));
    const asked = await client.acquire(queue, { claim_id: 'a' });
    const reply = await client.get(queue, 'a');
    expect([asked.status, reply.status]).toEqual([202, 200]);
    expect(shapeOf(reply.body)).toEqual(shapeOf(asked.body));
  });

  it('shows an ended one with state, reason, outcome, token and times', async () => {
    const lease = await client.hold(anId('q'));
    await client.release(lease);
    const reply = await client.get(lease.queue, lease.claim_id);
    expect(shapeOf(reply.body)).toEqual({
      ...ended,
      outcome: 'null',
      fencing_token: 'integer',
      slot: 'integer',
      acquired_at: 'instant',
      actor: 'null',
      detail: 'null',
    });
  });

  it('of an unknown claim is 404 claim_not_found, in an unknown queue 404 queue_not_found', async () => {
    const { queue } = await client.hold(anId('q'));
    expect(await client.get(queue, 'nobody', { waitMs: 1000 })).toMatchObject(claimNotFound);
    expect(await client.get(anId('q'), 'nobody')).toMatchObject(queueNotFound);
  });
});
