import { describe, expect, it } from 'vitest';
import { anId, type LeaseKey, type TestClient } from '../support/http-client.ts';
import { lineUp, shapeOf } from '../support/test-app.ts';
import { until } from '../support/until.ts';
import { oneReplica } from '../support/one-replica.ts';

let client: TestClient;
oneReplica((parts) => ({ client } = parts));

const path = ({ queue, claim_id }: LeaseKey) => `/v1/queues/${queue}/claims/${claim_id}`;
const breakClaim = (lease: LeaseKey) => client.ask('POST', `${path(lease)}/break`, { reason: 'r', actor: 'a' });
const lost = (reason: string) => ({ status: 410, body: { code: 'lease_lost', reason } });
const mismatch = { status: 409, body: { code: 'token_mismatch' } };
/** Waits until the lease has run out by the database's clock. */
const untilExpired = ({ queue, slot, fencing_token }: LeaseKey & { slot: number }) =>
  until(
    async () =>
      (
        await client.ask<{ current: boolean }>(
          'GET',
          `/v1/queues/${queue}/check?fencing_token=${fencing_token}&slot=${slot}`,
        )
      ).body.current
        ? undefined
        : 'over',
    { what: 'the lease runs out' },
  );

// Each on a queue of its own; many wait a second for the end of a lease.
describe.concurrent('renew', () => {
  it('answers 200 with the new deadline', async () => {
    const lease = await client.hold(anId('q'), { ttl_ms: 10_000 });
    const reply = await client.renew(lease);
    expect(reply.status).toBe(200);
    expect(shapeOf(reply.body)).toEqual({
      claim_id: 'string',
      queue: 'string',
      fencing_token: 'integer',
      slot: 'integer',
      ttl_remaining_ms: 'integer',
      waited_ms: 'integer',
      renew_after_ms: 'integer',
      release_requested: 'boolean',
      expires_at: 'instant',
    });
    expect(reply.body.fencing_token).toBe(lease.fencing_token);
    expect(reply.body.release_requested).toBe(false);
    expect(Date.parse(reply.body.expires_at ?? '')).toBeGreaterThan(Date.parse(lease.expires_at));
    expect(reply.body.renew_after_ms).toBe(Math.floor((reply.body.ttl_remaining_ms ?? 0) / 3));
  });

  it('without ttl_ms keeps the length of the lease, with one changes it from then on', async () => {
    const lease = await client.hold(anId('q'), { ttl_ms: 60_000 });
    expect((await client.renew(lease)).body.ttl_remaining_ms).toBeGreaterThan(50_000);
    expect((await client.renew(lease, { ttl_ms: 200_000 })).body.ttl_remaining_ms).toBeGreaterThan(190_000);
    expect((await client.renew(lease)).body.ttl_remaining_ms).toBeGreaterThan(190_000);
  });

  it('never moves the deadline back', async () => {
    const lease = await client.hold(anId('q'), { ttl_ms: 200_000 });
    expect((await client.renew(lease, { ttl_ms: 1000 })).body.expires_at).toBe(lease.expires_at);
  });

  it('past expiry succeeds with the same token while nobody took the place over', async () => {
    const lease = await client.hold(anId('q'), { ttl_ms: 1000 });
    await untilExpired(lease);
    expect(await client.get(lease.queue, lease.claim_id)).toMatchObject({
      status: 200,
      body: { state: 'expired', reason: 'expired' },
    });
    expect(await client.renew(lease, { ttl_ms: 30_000 })).toMatchObject({
      status: 200,
      body: { fencing_token: lease.fencing_token, slot: lease.slot },
    });
    expect(await client.get(lease.queue, lease.claim_id)).toMatchObject({ body: { state: 'held' } });
  });

  it('past a takeover is 410 lease_lost, reason expired', async () => {
    const lease = await client.hold(anId('q'), { ttl_ms: 1000 });
    await untilExpired(lease);
    const next = await client.hold(lease.queue, { claim_id: 'next' });
    expect(next.fencing_token).toBeGreaterThan(lease.fencing_token);
    expect(await client.renew(lease)).toMatchObject(lost('expired'));
    expect(await client.get(lease.queue, lease.claim_id)).toMatchObject({
      body: { state: 'expired', reason: 'expired' },
    });
    expect(await client.release(lease)).toMatchObject({ status: 200, body: { released: false, reason: 'expired' } });
    expect(await client.get(next.queue, 'next')).toMatchObject({ body: { state: 'held' } });
  });

  it('of a released or broken lease is 410 lease_lost with that reason', async () => {
    const released = await client.hold(anId('q'));
    await client.release(released);
    expect(await client.renew(released)).toMatchObject(lost('released'));
    const broken = await client.hold(anId('q'));
    await breakClaim(broken);
    expect(await client.renew(broken)).toMatchObject(lost('broken'));
  });

  it('of a cancelled offer is 410 lease_lost, reason cancelled', async () => {
    const queue = anId('q');
    const first = await client.hold(queue);
    await lineUp(client, queue, 'offered');
    await client.release(first);
    const { fencing_token = 0 } = (await client.queue(queue)).body.holders[0] ?? {};
    await client.cancel(queue, 'offered');
    expect(
      await client.renew({ ...first, claim_id: 'offered' as never, fencing_token: fencing_token as never }),
    ).toMatchObject(lost('cancelled'));
  });

  it('past max_hold_ms is 410 lease_lost, reason max_hold, whatever was renewed before', async () => {
    const queue = anId('q');
    await client.put(queue, { max_hold_ms: 1000 });
    const lease = await client.hold(queue);
    expect(lease.ttl_remaining_ms).toBeLessThanOrEqual(1000);
    expect((await client.renew(lease)).body.ttl_remaining_ms).toBeLessThanOrEqual(1000);
    await untilExpired(lease);
    expect(await client.renew(lease)).toMatchObject(lost('max_hold'));
    await client.hold(queue);
    expect(await client.renew(lease)).toMatchObject(lost('max_hold'));
    expect(await client.get(queue, lease.claim_id)).toMatchObject({ body: { state: 'expired', reason: 'max_hold' } });
  });

  it('with a token the claim never had is 409 token_mismatch, held or waiting or ended', async () => {
    const lease = await client.hold(anId('q'));
    await lineUp(client, lease.queue, 'waits');
    const other = { ...lease, fencing_token: (lease.fencing_token + 1) as never };
    expect(await client.renew(other)).toMatchObject(mismatch);
    expect(await client.renew({ ...lease, claim_id: 'waits' as never })).toMatchObject(mismatch);
    await client.release(lease);
    expect(await client.renew(other)).toMatchObject(mismatch);
  });

  it('of an unknown claim is 404 claim_not_found, in an unknown queue 404 queue_not_found', async () => {
    const lease = await client.hold(anId('q'));
    expect(await client.renew({ ...lease, claim_id: 'nobody' as never })).toMatchObject({
      status: 404,
      body: { code: 'claim_not_found' },
    });
    expect(await client.renew({ ...lease, queue: anId('q') as never })).toMatchObject({
      status: 404,
      body: { code: 'queue_not_found' },
    });
  });

  it('tells the holder that somebody asked it to stop', async () => {
    const lease = await client.hold(anId('q'));
    await client.cancel(lease.queue, lease.claim_id);
    expect(await client.renew(lease)).toMatchObject({ status: 200, body: { release_requested: true } });
  });
});

describe.concurrent('release', () => {
  it('answers 200 {released: true, state}, and keeps the outcome', async () => {
    for (const outcome of ['success', 'failure', 'cancelled']) {
      const lease = await client.hold(anId('q'));
      const reply = await client.ask('POST', `${path(lease)}/release`, { fencing_token: lease.fencing_token, outcome });
      expect(reply).toMatchObject({ status: 200, body: { released: true } });
      expect(reply.body).toEqual({ released: true });
      expect(await client.get(lease.queue, lease.claim_id)).toMatchObject({
        status: 200,
        body: { state: 'released', reason: 'released', outcome },
      });
    }
  });

  it('again is 200 {released: false} with the reason, and the first outcome stays', async () => {
    const lease = await client.hold(anId('q'));
    await client.release(lease);
    const body = { fencing_token: lease.fencing_token, outcome: 'failure' };
    expect(await client.ask('POST', `${path(lease)}/release`, body)).toMatchObject({
      status: 200,
      body: { released: false, reason: 'released' },
    });
    expect(await client.get(lease.queue, lease.claim_id)).toMatchObject({ body: { outcome: null } });
  });

  it('just past expiry still releases while nobody took the place over', async () => {
    const lease = await client.hold(anId('q'), { ttl_ms: 1000 });
    await untilExpired(lease);
    expect(await client.release(lease)).toMatchObject({ status: 200, body: { released: true } });
  });

  it('after a break is released: false, reason broken', async () => {
    const lease = await client.hold(anId('q'));
    await breakClaim(lease);
    expect(await client.release(lease)).toMatchObject({ status: 200, body: { released: false, reason: 'broken' } });
  });

  it('with an older token of the same claim is released: false and leaves the newer lease alone', async () => {
    const queue = anId('q');
    await client.put(queue, { claim_memory_ms: 1000 });
    const body = { claim_id: 'c', holder: 'me' };
    const older = await client.hold(queue, body);
    await client.release(older);
    // Forgotten after claim_memory_ms, the id may be used again.
    const newer = await until(
      async () => {
        const reply = await client.acquire(queue, body);
        return reply.status === 200 ? (reply.body as typeof older) : undefined;
      },
      { what: 'the ended claim is forgotten' },
    );
    expect(newer.fencing_token).toBeGreaterThan(older.fencing_token);
    expect(await client.release(older)).toMatchObject({ status: 200, body: { released: false, reason: 'released' } });
    expect(await client.renew(older)).toMatchObject(lost('released'));
    expect(await client.get(queue, 'c')).toMatchObject({
      body: { state: 'held', fencing_token: newer.fencing_token },
    });
  });

  it('with a token the claim never had is 409 token_mismatch and changes nothing', async () => {
    const lease = await client.hold(anId('q'));
    await lineUp(client, lease.queue, 'waits');
    for (const wrong of [1, lease.fencing_token - 1, lease.fencing_token + 1, Number.MAX_SAFE_INTEGER]) {
      expect(await client.release({ ...lease, fencing_token: wrong as never })).toMatchObject(mismatch);
    }
    expect(await client.release({ ...lease, claim_id: 'waits' as never })).toMatchObject(mismatch);
    expect(await client.get(lease.queue, lease.claim_id)).toMatchObject({ body: { state: 'held' } });
    expect(await client.release(lease)).toMatchObject({ body: { released: true } });
  });

  it('of an unknown claim or queue is 404', async () => {
    const lease = await client.hold(anId('q'));
    expect(await client.release({ ...lease, claim_id: 'nobody' as never })).toMatchObject({
      status: 404,
      body: { code: 'claim_not_found' },
    });
    expect(await client.release({ ...lease, queue: anId('q') as never })).toMatchObject({
      status: 404,
      body: { code: 'queue_not_found' },
    });
  });
});

describe.concurrent('an expired lease', () => {
  it('is shown as expired at once, everywhere, before anything has cleaned it', async () => {
    const queue = anId('q');
    const lease = await client.hold(queue, { ttl_ms: 1000 });
    await untilExpired(lease);
    expect(await client.get(queue, lease.claim_id)).toMatchObject({ body: { state: 'expired', reason: 'expired' } });
    const shown = (await client.queue(queue)).body;
    expect(shown.held).toBe(1);
    expect(shown.holders).toMatchObject([{ claim_id: lease.claim_id, expired: true, ttl_remaining_ms: 0 }]);
  });

  it('gives its place to who asks next, with a greater token and the same slot', async () => {
    const lease = await client.hold(anId('q'), { ttl_ms: 1000 });
    await untilExpired(lease);
    const next = await client.hold(lease.queue);
    expect(next.slot).toBe(lease.slot);
    expect(next.fencing_token).toBeGreaterThan(lease.fencing_token);
  });

  it('is 410 claim_ended for its own claim once somebody else asked', async () => {
    const lease = await client.hold(anId('q'), { ttl_ms: 1000, claim_id: 'c', holder: 'me' });
    await untilExpired(lease);
    await client.hold(lease.queue);
    expect(await client.acquire(lease.queue, { claim_id: 'c', holder: 'me' })).toMatchObject({
      status: 410,
      body: { code: 'claim_ended', state: 'expired', reason: 'expired' },
    });
  });
});
