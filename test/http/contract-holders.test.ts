import { describe, expect, it } from 'vitest';
import { freshDatabase, type TestDatabase } from '../support/database.ts';
import { anId, type LeaseKey, leaseKey, type TestClient } from '../support/http-client.ts';
import { shapeOf } from '../support/test-app.ts';
import { aToken, startTokenApp } from '../support/token-app.ts';
import { oneReplica } from '../support/one-replica.ts';

let database: TestDatabase;
let client: TestClient;
oneReplica((parts) => ({ database, client } = parts));

/** Runs of as many queues, each taken by this holder. */
async function takenBy(holder: string, count: number, ttl_ms = 30_000) {
  const taken = [];
  for (let i = 0; i < count; i++) {
    const queue = anId(`q${i}`);
    await client.enqueue(queue, { claim_id: `run${i}` });
    taken.push(await client.takeOne({ queue, holder, ttl_ms }));
  }
  return taken;
}
const wrong = (lease: LeaseKey): LeaseKey => ({ ...leaseKey(lease), fencing_token: 1 as LeaseKey['fencing_token'] });

describe('renew of a holder', () => {
  it('without claims renews all it has taken, of whatever queue', async () => {
    const holder = `host/ü:${anId('pid')}`;
    const taken = await takenBy(holder, 3);
    await takenBy('somebody else', 1);
    const reply = await client.renewHeld(holder, { ttl_ms: 200_000 });
    expect(reply).toMatchObject({ status: 200, body: { lost: [] } });
    const renewed = reply.body.claims ?? [];
    expect(renewed.map(leaseKey).sort((a, b) => a.queue.localeCompare(b.queue))).toEqual(
      taken.map(leaseKey).sort((a, b) => a.queue.localeCompare(b.queue)),
    );
    expect(renewed.every(({ ttl_remaining_ms }) => ttl_remaining_ms > 190_000)).toBe(true);
    const [first] = taken;
    if (first !== undefined) expect(shapeOf(renewed[0])).toEqual(shapeOf((await client.renew(first)).body));
  });

  it('of one that has nothing is 200 with two empty lists', async () => {
    expect((await client.renewHeld(anId('nobody'))).body).toEqual({ claims: [], lost: [] });
  });

  it('forgets what was given back', async () => {
    const holder = anId('worker');
    const [first, second] = await takenBy(holder, 2);
    if (first === undefined || second === undefined) throw new Error('nothing taken');
    await client.release(first);
    const reply = await client.renewHeld(holder);
    expect(reply.body.claims?.map(leaseKey)).toEqual([leaseKey(second)]);
    expect(reply.body.lost).toEqual([]);
  });

  it('with claims renews those, and says which are lost and why', async () => {
    const holder = anId('worker');
    const [kept, gone, other] = await takenBy(holder, 3);
    if (kept === undefined || gone === undefined || other === undefined) throw new Error('nothing taken');
    await client.release(gone);
    const unknown = { ...leaseKey(kept), claim_id: 'nobody' as LeaseKey['claim_id'] };
    const reply = await client.renewHeld(holder, { claims: [kept, gone, wrong(other), unknown], ttl_ms: 100_000 });
    expect(reply.status).toBe(200);
    expect(reply.body.claims?.map(leaseKey)).toEqual([leaseKey(kept)]);
    expect(reply.body.claims?.[0]?.ttl_remaining_ms).toBeGreaterThan(90_000);
    expect(reply.body.lost).toEqual([
      { ...leaseKey(gone), code: 'lease_lost', reason: 'released' },
      { ...wrong(other), code: 'token_mismatch' },
      { ...unknown, code: 'claim_not_found' },
    ]);
    // Not named, not renewed.
    expect(await client.get(other.queue, other.claim_id)).toMatchObject({ body: { expires_at: other.expires_at } });
  });

  it.each([{ claims: [] }, { ttl_ms: 1 }, { claims: [{ queue: 'q' }] }])('of %j is 400', async (body) => {
    expect(await client.ask('POST', '/v1/holders/h/renew', body)).toMatchObject({
      status: 400,
      body: { code: 'invalid_request' },
    });
  });
});

describe('release of a holder', () => {
  it('gives one result each, in order, whatever became of the others', async () => {
    const holder = anId('worker');
    const [success, retry, failure, gone, mismatch] = await takenBy(holder, 5);
    if (!success || !retry || !failure || !gone || !mismatch) throw new Error('nothing taken');
    await client.release(gone);
    const unknown = { ...leaseKey(success), claim_id: 'nobody' as LeaseKey['claim_id'] };
    const nowhere = { ...leaseKey(success), queue: anId('q') as LeaseKey['queue'] };
    const reply = await client.releaseHeld(holder, [
      gone,
      { ...success, outcome: 'success' },
      unknown,
      { ...retry, outcome: 'retry', retry_after_ms: 60_000, error: 'later' },
      wrong(mismatch),
      { ...failure, outcome: 'failure', error: 'never' },
      nowhere,
      success,
    ]);
    const named = ({ queue, claim_id }: LeaseKey) => ({ queue, claim_id });
    const text = expect.any(String) as string;
    expect(reply.status).toBe(200);
    expect(reply.body.results).toEqual([
      { ...named(gone), released: false, reason: 'released' },
      { ...named(success), released: true, state: 'released' },
      { ...named(unknown), released: false, code: 'claim_not_found', detail: text },
      { ...named(retry), released: true, state: 'delayed', due_at: text },
      { ...named(mismatch), released: false, code: 'token_mismatch', detail: text },
      { ...named(failure), released: true, state: 'released' },
      { ...named(nowhere), released: false, code: 'queue_not_found', detail: text },
      { ...named(success), released: false, reason: 'released' },
    ]);
    expect(await client.get(success.queue, success.claim_id)).toMatchObject({ body: { outcome: 'success' } });
    expect(await client.get(retry.queue, retry.claim_id)).toMatchObject({ body: { state: 'delayed', attempt: 1 } });
    expect(await client.get(mismatch.queue, mismatch.claim_id)).toMatchObject({ body: { state: 'held' } });
    expect((await client.queue(failure.queue)).body.dead_letters).toBe(1);
  });

  it('of a thousand leases of one queue is one call', async () => {
    const queue = anId('q');
    await client.put(queue, { concurrency_limit: null });
    await database.query(`select signalbox_v1.enqueue($1, 'r' || n, to_json(n)) from generate_series(1, 1000) n`, [
      queue,
    ]);
    const holder = anId('worker');
    const { claims = [] } = (await client.take({ queue, holder, max: 1000, wait_ms: 5000 })).body;
    expect(claims).toHaveLength(1000);
    expect((await client.renewHeld(holder)).body.claims).toHaveLength(1000);
    const { results = [] } = (await client.releaseHeld(holder, claims)).body;
    expect(results).toHaveLength(1000);
    expect(results.every(({ released }) => released)).toBe(true);
    expect(results.map(({ claim_id }) => claim_id)).toEqual(claims.map(({ claim_id }) => claim_id));
    expect((await client.queue(queue)).body).toMatchObject({ held: 0, runs: 0 });
  });

  it.each([
    {},
    { claims: [] },
    { claims: [{ queue: 'q', claim_id: 'c', fencing_token: 1, retry_after_ms: 0 }] },
    { claims: [{ queue: 'q', claim_id: 'c', fencing_token: 1, outcome: 'x' }] },
  ])('of %j is 400', async (body) => {
    expect(await client.ask('POST', '/v1/holders/h/release', body)).toMatchObject({
      status: 400,
      body: { code: 'invalid_request' },
    });
  });
});

describe('with a queue prefix', () => {
  it('only what begins so is taken, renewed and released', async () => {
    await using tokens = await freshDatabase();
    const mine = await aToken(tokens, { scope: 'use', prefix: 'mine/' });
    const use = await aToken(tokens, { scope: 'use' });
    await using app = await startTokenApp(tokens);
    const ask = async (path: string, body: object, token = use) => {
      const { status, text } = await app.ask('POST', path, { token, body });
      return { status, body: JSON.parse(text) as Record<string, unknown> };
    };
    const tag = anId('q');
    const leases: LeaseKey[] = [];
    for (const queue of [`mine/${tag}`, `theirs/${tag}`]) {
      await ask(`/v1/queues/${encodeURIComponent(queue)}/enqueue`, { claim_id: 'a' });
      const { claims } = (await ask('/v1/take', { holder: 'h', queue })).body as { claims: LeaseKey[] };
      leases.push(...claims.map(leaseKey));
    }
    expect(leases).toHaveLength(2);
    const [ours] = leases;
    const forbidden = { status: 403, body: { code: 'forbidden', queue_prefix: 'mine/' } };
    for (const where of [{ queue: `theirs/${tag}` }, { prefix: '' }, { prefix: 'mine' }, { prefix: 'theirs/' }])
      expect(await ask('/v1/take', { holder: 'h', ...where }, mine)).toMatchObject(forbidden);
    for (const where of [{ queue: `mine/${tag}` }, { prefix: 'mine/' }, { prefix: `mine/${tag}` }])
      expect((await ask('/v1/take', { holder: 'h', ...where }, mine)).status).toBe(200);
    const { claims } = (await ask('/v1/holders/h/renew', {}, mine)).body as { claims: LeaseKey[] };
    expect(claims.map(leaseKey)).toEqual([ours]);
    expect(((await ask('/v1/holders/h/renew', {})).body as { claims: LeaseKey[] }).claims).toHaveLength(2);
    expect(await ask('/v1/holders/h/renew', { claims: leases }, mine)).toMatchObject(forbidden);
    expect(await ask('/v1/holders/h/release', { claims: leases }, mine)).toMatchObject(forbidden);
    expect(await ask('/v1/holders/h/release', { claims: [ours] }, mine)).toMatchObject({
      status: 200,
      body: { results: [{ released: true }] },
    });
  });
});
