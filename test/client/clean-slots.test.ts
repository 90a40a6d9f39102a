import { expect, test } from 'vitest';
import { cleanSlots, SignalboxClient, takeDirtySlot } from '../../src/client/index.ts';
import { anId } from '../support/http-client.ts';
import { oneReplica, type OneReplica } from '../support/one-replica.ts';
import { until } from '../support/until.ts';

let parts: OneReplica;
oneReplica((made) => (parts = made));

const clientOf = () => new SignalboxClient({ url: parts.replica.url });

async function dirtyQueue(claims: readonly string[], settings: object = {}): Promise<string> {
  const queue = anId('q');
  await parts.client.put(queue, { cleanup: true, concurrency_limit: claims.length, ...settings });
  const leases = [];
  for (const claimId of claims) leases.push(await parts.client.hold(queue, { claim_id: claimId }));
  for (const lease of leases) await parts.client.release(lease);
  return queue;
}

test('cleans one after another, and says how many', async () => {
  const queue = await dirtyQueue(['a', 'b']);
  const seen: string[] = [];
  const cleaned = await cleanSlots(clientOf(), { queue }, async ({ lease, fencingToken, slot, signal }) => {
    expect([fencingToken, slot, signal.aborted]).toEqual([lease.fencing_token, lease.slot, false]);
    seen.push(lease.previous.claim_id);
    await parts.client.get(queue, lease.claim_id);
  });
  expect([cleaned, seen]).toEqual([2, ['a', 'b']]);
  expect((await parts.client.queue(queue)).body).toMatchObject({ dirty: 0, cleaning: 0 });
});

test('a slot whose cleaning throws is dirty again, and that is thrown', async () => {
  const queue = await dirtyQueue(['a']);
  const failed = cleanSlots(clientOf(), { queue }, () => {
    throw new Error('no mop');
  });
  await expect(failed).rejects.toThrow('no mop');
  expect((await parts.client.queue(queue)).body).toMatchObject({ dirty: 1, cleaning: 0 });
});

test('a lease that is broken meanwhile is no success, whatever the work says', async () => {
  const queue = await dirtyQueue(['a']);
  const failed = cleanSlots(clientOf(), { queue, ttlMs: 1000 }, async ({ lease, signal }) => {
    await parts.client.ask('POST', `/v1/queues/${queue}/claims/${lease.claim_id}/break`, { reason: 'r', actor: 'a' });
    await until(() => Promise.resolve(signal.aborted), { what: 'the renewal finds the lease broken' });
  });
  await expect(failed).rejects.toThrow(/broken/);
  expect((await parts.client.queue(queue)).body).toMatchObject({ dirty: 1 });
});

test('a watch waits for what becomes dirty until its signal aborts', async () => {
  const queue = await dirtyQueue(['a']);
  const stop = new AbortController();
  const seen: string[] = [];
  const watching = cleanSlots(clientOf(), { queue, watch: true, signal: stop.signal }, ({ lease }) => {
    seen.push(lease.previous.claim_id);
  });
  await until(async () => (await parts.client.queue(queue)).body.dirty === 0 && seen.length === 1, {
    what: 'one is clean',
  });
  const late = parts.client.hold(queue, { claim_id: 'late', wait_ms: 20_000 });
  await parts.client.release(await late);
  await until(() => Promise.resolve(seen.length === 2), { what: 'the second was cleaned' });
  stop.abort();
  expect(await watching).toBe(2);
  expect(seen).toEqual(['a', 'late']);
});

test('a watch outlives its queue, which goes when it is idle and comes again', async () => {
  const queue = anId('q');
  const stop = new AbortController();
  const seen: string[] = [];
  const missing = Promise.withResolvers<undefined>();
  const options = { queue, watch: true, pollMs: 50, signal: stop.signal, onMissing: () => missing.resolve(undefined) };
  const watching = cleanSlots(clientOf(), options, ({ lease }) => void seen.push(lease.previous.claim_id));
  await missing.promise;
  await parts.client.put(queue, { cleanup: true });
  await parts.client.release(await parts.client.hold(queue, { claim_id: 'a' }));
  await until(() => seen.length === 1, { what: 'it was cleaned' });
  stop.abort();
  expect(await watching).toBe(1);
});

test('nothing dirty is undefined; a queue or a service that is not there is thrown', async () => {
  expect(await takeDirtySlot(clientOf(), { queue: await dirtyQueue([]), waitTimeoutMs: 50 })).toBeUndefined();
  const missing = takeDirtySlot(clientOf(), { queue: anId('q'), waitTimeoutMs: 10_000 });
  await expect(missing).rejects.toMatchObject({ code: 'queue_not_found' });
  const nowhere = new SignalboxClient({ url: 'http://127.0.0.1:9' });
  await expect(takeDirtySlot(nowhere, { queue: 'q', unreachableTimeoutMs: 200 })).rejects.toThrow();
});
