import { describe, expect, it } from 'vitest';
import { anId, type TestClient } from '../support/http-client.ts';
import { lineUp } from '../support/test-app.ts';
import { oneReplica } from '../support/one-replica.ts';

let client: TestClient;
oneReplica((parts) => ({ client } = parts));

const busy = { status: 409, body: { code: 'queue_busy' } };

describe('skip_if_busy', () => {
  it('is granted where there is room', async () => {
    expect(await client.acquire(anId('q'), { mode: 'skip_if_busy' })).toMatchObject({
      status: 200,
      body: { state: 'held', mode: 'skip_if_busy' },
    });
  });

  it.each([
    ['full', {}, 'has no free place'],
    ['paused', { paused: true }, 'is paused'],
    ['limited to 0', { concurrency_limit: 0 }, 'grants nothing: its limit is 0'],
  ])('on a queue that is %s is 409 queue_busy at once and leaves no claim', async (_what, settings, text) => {
    const queue = anId('q');
    await client.put(queue, settings);
    if (Object.keys(settings).length === 0) await client.hold(queue);
    const sentAtMs = performance.now();
    const asked = { claim_id: 'skip', holder: 'me', mode: 'skip_if_busy', wait_ms: 20_000 } as const;
    expect(await client.acquire(queue, asked)).toMatchObject({
      ...busy,
      body: { code: 'queue_busy', detail: `Queue ${queue} ${text}.` },
    });
    expect(performance.now() - sentAtMs).toBeLessThan(10_000);
    expect(await client.get(queue, 'skip')).toMatchObject({ status: 404, body: { code: 'claim_not_found' } });
    expect((await client.queue(queue)).body.waiting).toBe(0);
    // Nothing is remembered: the same id is as new as before.
    await client.put(queue, { paused: false, concurrency_limit: 2 });
    expect(await client.acquire(queue, asked)).toMatchObject({ status: 200 });
  });

  it('is granted in each of these states as soon as it passes, and refused by a closed queue in its own words', async () => {
    const queue = anId('q');
    const skip = () => client.acquire(queue, { mode: 'skip_if_busy' });
    await client.put(queue, { lock_delay_ms: 600_000, concurrency_limit: 2 });
    const lease = await client.hold(queue);
    await client.ask('POST', `/v1/queues/${queue}/claims/${lease.claim_id}/break`, { reason: 'test', actor: 'me' });
    // One place in lock delay, one lease that was broken: limit 1 has none left.
    await client.put(queue, { concurrency_limit: 1 });
    expect(await skip()).toMatchObject(busy);
    await client.put(queue, { concurrency_limit: 2 });
    expect(await skip()).toMatchObject({ status: 200 });
    expect(await skip()).toMatchObject(busy);
    await client.put(queue, { concurrency_limit: 4, closed: true });
    expect(await skip()).toMatchObject({ status: 409, body: { code: 'queue_closed' } });
    await client.put(queue, { closed: false });
    expect(await client.acquire(queue, { mode: 'skip_if_busy', weight: 3 })).toMatchObject(busy);
    expect(await client.acquire(queue, { mode: 'skip_if_busy', weight: 2 })).toMatchObject({ status: 200 });
    expect((await client.queue(queue)).body.waiting).toBe(0);
  });

  it('never overtakes the line', async () => {
    const queue = anId('q');
    await client.put(queue, { concurrency_limit: 0 });
    await lineUp(client, queue, 'first');
    expect(await client.acquire(queue, { mode: 'skip_if_busy' })).toMatchObject(busy);
  });
});

describe('latest_only', () => {
  const latest = (queue: string, claim_id: string, priority = 0) =>
    client.acquire(queue, { claim_id, holder: `holder of ${claim_id}`, priority, mode: 'latest_only' });

  it('ends older waiting latest_only claims of the queue as superseded', async () => {
    const queue = anId('q');
    await client.hold(queue);
    await latest(queue, 'one');
    expect(await latest(queue, 'two')).toMatchObject({ status: 202, body: { position: 1, queue_depth: 1 } });
    expect(await client.get(queue, 'one')).toMatchObject({
      status: 200,
      body: { state: 'superseded', reason: 'superseded' },
    });
    expect(await latest(queue, 'one')).toMatchObject({
      status: 410,
      body: { code: 'claim_ended', state: 'superseded', reason: 'superseded' },
    });
  });

  it('wakes the client of a claim that it ends with 410 claim_ended', async () => {
    const queue = anId('q');
    await client.hold(queue);
    const polled = client.acquire(queue, { claim_id: 'old', mode: 'latest_only', wait_ms: 30_000 });
    while ((await client.queue(queue)).body.waiting !== 1);
    await latest(queue, 'new');
    expect(await polled).toMatchObject({ status: 410, body: { code: 'claim_ended', reason: 'superseded' } });
  });

  it('spares holders, other modes, higher priorities and other queues', async () => {
    const [queue, other] = [anId('q'), anId('q')];
    await latest(queue, 'holder');
    await client.hold(other);
    await latest(other, 'elsewhere');
    await lineUp(client, queue, 'plain');
    await latest(queue, 'higher', 9);
    await latest(queue, 'equal', 5);
    await latest(queue, 'new', 5);
    const states: Record<string, string> = {};
    for (const claimId of ['holder', 'plain', 'higher', 'equal', 'new']) {
      states[claimId] = ((await client.get(queue, claimId)).body as { state: string }).state;
    }
    expect(states).toEqual({
      holder: 'held',
      plain: 'waiting',
      higher: 'waiting',
      equal: 'superseded',
      new: 'waiting',
    });
    expect(await client.get(other, 'elsewhere')).toMatchObject({ body: { state: 'waiting' } });
  });

  it('asked again by its own claim, it stays as it is', async () => {
    const queue = anId('q');
    await client.hold(queue);
    await latest(queue, 'c');
    expect(await latest(queue, 'c')).toMatchObject({ status: 202, body: { state: 'waiting', position: 1 } });
  });
});

describe('max_waiting', () => {
  const full = { status: 429, body: { code: 'queue_full' } };

  it('refuses the next claim with 429 queue_full and keeps nothing of it', async () => {
    const queue = anId('q');
    await client.put(queue, { max_waiting: 2 });
    await client.hold(queue);
    await lineUp(client, queue, 'a', 'b');
    const reply = await client.acquire(queue, { claim_id: 'c' });
    expect(reply).toMatchObject(full);
    expect(Number(reply.headers.get('retry-after'))).toBeGreaterThan(0);
    expect(await client.get(queue, 'c')).toMatchObject({ status: 404, body: { code: 'claim_not_found' } });
    // Who waits already may go on asking.
    expect(await client.acquire(queue, { claim_id: 'a', holder: 'holder of a' })).toMatchObject({ status: 202 });
    await client.cancel(queue, 'a');
    expect(await client.acquire(queue, { claim_id: 'c' })).toMatchObject({ status: 202 });
  });

  it('0 lets nobody wait, yet grants what is free', async () => {
    const queue = anId('q');
    await client.put(queue, { max_waiting: 0 });
    await client.hold(queue);
    expect(await client.acquire(queue)).toMatchObject(full);
  });
});
