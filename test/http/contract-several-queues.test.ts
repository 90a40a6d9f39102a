import { describe, expect, it } from 'vitest';
import type { HeldClaim, WaitingClaim } from '../../src/protocol/claims.ts';
import { openLease, SignalboxClient } from '../../src/client/index.ts';
import type { TestDatabase } from '../support/database.ts';
import { anId, type TestClient } from '../support/http-client.ts';
import { oneReplica } from '../support/one-replica.ts';

let client: TestClient;
let database: TestDatabase;
oneReplica((parts) => ({ client, database } = parts));

const three = () => [anId('a'), anId('b'), anId('c')] as const;

describe('a claim on several queues', () => {
  it('makes them on first use and holds a place in each: also says which', async () => {
    const [a, b, c] = three();
    const claim = await client.acquire(a, { also: [c, { queue: b, weight: 2 }] });
    expect(claim).toMatchObject({
      status: 200,
      body: {
        state: 'held',
        queue: a,
        also: [
          { queue: b, slot: 1, weight: 1 },
          { queue: c, slot: 1, weight: 1 },
        ],
      },
    });
    const lease = claim.body as HeldClaim;
    for (const place of lease.also ?? [])
      expect(
        await client.ask('GET', `/v1/queues/${place.queue}/check?fencing_token=${place.fencing_token}`),
      ).toMatchObject({
        body: { current: true },
      });
    expect((await client.renew(lease)).status).toBe(200);
    expect((await client.release(lease)).body.released).toBe(true);
    expect((await client.acquire(b)).status).toBe(200);
    expect((await client.acquire(c)).status).toBe(200);
  });

  it('waits, saying for which queue, and its client is woken when the last of them has room', async () => {
    const [a, b, c] = three();
    const holder = await client.hold(b);
    const asked = { claim_id: 'j', holder: 'me', also: [b, c] };
    const waiting = await client.acquire(a, asked);
    expect(waiting).toMatchObject({
      status: 202,
      body: {
        waiting_for: 'other_queue',
        waiting_for_queue: b,
        blocked_by: [{ claim_id: holder.claim_id }],
        also: [
          { queue: b, weight: 1 },
          { queue: c, weight: 1 },
        ],
      } satisfies Partial<Record<keyof WaitingClaim, unknown>>,
    });
    const polled = client.acquire(a, { ...asked, wait_ms: 30_000 });
    await client.release(holder);
    expect(await polled).toMatchObject({ status: 200, body: { state: 'held', holder: 'me' } });
  });

  it('hands its places on at once when it is released, in every queue', async () => {
    const [a, b, c] = three();
    const lease = await client.hold(a, { also: [b, c] });
    const sentAtMs = performance.now();
    const waiters = [a, b, c].map((queue) => client.acquire(queue, { wait_ms: 30_000 }));
    for (const queue of [a, b, c]) while ((await client.queue(queue)).body.waiting !== 1);
    await client.release(lease);
    expect((await Promise.all(waiters)).map(({ status }) => status)).toEqual([200, 200, 200]);
    expect(performance.now() - sentAtMs).toBeLessThan(15_000);
  });

  it('is seen through its other queues with its own; all other verbs there are 409 not_primary', async () => {
    const [a, b] = three();
    const lease = await client.hold(a, { also: [b], claim_id: 'j', holder: 'me' });
    const place = { queue: b, claim_id: 'j', fencing_token: lease.also?.[0]?.fencing_token ?? 0 } as never;
    expect(await client.get(b, 'j')).toMatchObject({ status: 200, body: { state: 'held', primary: a } });
    const notPrimary = {
      status: 409,
      body: { code: 'not_primary', primary: a, detail: expect.stringContaining(a) as string },
    };
    expect(await client.renew(place)).toMatchObject(notPrimary);
    expect(await client.release(place)).toMatchObject(notPrimary);
    const path = `/v1/queues/${b}/claims/j`;
    expect(await client.ask('POST', `${path}/cancel`)).toMatchObject(notPrimary);
    expect(await client.ask('POST', `${path}/break`, { reason: 'r', actor: 'a' })).toMatchObject(notPrimary);
    expect(await client.acquire(b, { claim_id: 'j', holder: 'me' })).toMatchObject(notPrimary);
    expect(await client.get(a, 'j')).toMatchObject({ body: { state: 'held' } });
  });

  it.each([
    ['more than three', (a: string) => ({ also: [`${a}1`, `${a}2`, `${a}3`, `${a}4`] })],
    ['one queue twice', (a: string) => ({ also: [`${a}1`, { queue: `${a}1`, weight: 2 }] })],
    ['its own queue again', (a: string) => ({ also: [a] })],
    ['mode latest_only', (a: string) => ({ also: [`${a}1`], mode: 'latest_only' as const })],
    ['a weight of 0', (a: string) => ({ also: [{ queue: `${a}1`, weight: 0 }] })],
  ])('with %s it is 400, alone and in a batch, and makes no queue', async (_what, body) => {
    const a = anId('a');
    expect(await client.acquire(a, body(a))).toMatchObject({ status: 400, body: { code: 'invalid_request' } });
    const { body: answer } = await client.batch([{ op: 'acquire', queue: a, holder: 'h', ...body(a) }]);
    expect(answer.results?.[0]).toMatchObject({ status: 400, body: { code: 'invalid_request' } });
    expect((await client.queue(a)).status).toBe(404);
  });

  it('goes through a batch like any acquire', async () => {
    const [a, b] = three();
    const { body: answer } = await client.batch([
      { op: 'acquire', queue: a, claim_id: 'one', holder: 'h', also: [b] },
      { op: 'acquire', queue: b, claim_id: 'two', holder: 'h' },
    ]);
    expect(answer.results?.map(({ status }) => status).toSorted()).toEqual([200, 202]);
  });

  it('is offered by the client, whose scope knows the places', async () => {
    const [a, b] = three();
    const sdk = new SignalboxClient({ url: client.url });
    await using lease = await openLease(sdk, { queue: a, also: [{ queue: b, weight: 3 }], weight: 1 });
    expect(lease.also).toMatchObject([{ queue: b, slot: 1, weight: 1 }]);
    const { rows } = await database.query(`select queue from signalbox.leases where state = 'held' and claim_id = $1`, [
      lease.claimId,
    ]);
    expect(rows).toHaveLength(2);
  });
});
