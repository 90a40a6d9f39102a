import { expect, it } from 'vitest';
import { campaign, type Observation, observe, SignalboxClient } from '../../src/client/index.ts';
import { anId } from '../support/http-client.ts';
import { oneReplica } from '../support/one-replica.ts';
import { StallMeter } from '../support/stalls.ts';
import { TcpProxy } from '../support/tcp-proxy.ts';
import type { TestApp } from '../support/test-app.ts';

let app: TestApp;
let client: SignalboxClient;
oneReplica(({ replica }) => {
  app = replica;
  client = new SignalboxClient({ url: replica.url });
});

async function next(observer: AsyncGenerator<Observation>): Promise<Observation> {
  const { value } = (await observer.next()) as IteratorResult<Observation, undefined>;
  if (value === undefined) throw new Error('the stream has ended');
  return value;
}

it('tells who leads, with term and end, and each change within a second', async () => {
  const election = anId('seen');
  const observer = observe(client, { election });
  expect(await next(observer)).toEqual({ kind: 'nobody', election });
  for (let round = 0; round < 2; round++) {
    const leader = await campaign(client, { election, ttlMs: 20_000 });
    await using stalls = new StallMeter(() => client.getQueue(election));
    const startedAtMs = performance.now();
    const { term, holder, claimId } = leader;
    const seen = await next(observer);
    expect(performance.now() - startedAtMs).toBeLessThan(1000 + 5 * stalls.worstMs);
    expect(seen).toMatchObject({ kind: 'led', leader: { term, holder, claimId } });
    const left = seen.kind === 'led' ? seen.leader.untilMs - performance.now() : NaN;
    expect(left).toBeGreaterThan(18_000);
    expect(left).toBeLessThanOrEqual(20_000);
    await leader.resign();
    expect(await next(observer)).toMatchObject({ kind: 'nobody' });
  }
  await observer.return(undefined);
});

it('a hand-over is told as the next term; what is over stays over, also when its leader renews late', async () => {
  const election = anId('late');
  const lease = await app.client.hold(election, { ttl_ms: 1000 });
  const observer = observe(client, { election, pollMs: 50 });
  expect(await next(observer)).toMatchObject({ kind: 'led', leader: { term: lease.fencing_token } });
  // Nobody waits and nobody sweeps: the lease runs out and stays where it is.
  expect(await next(observer)).toMatchObject({ kind: 'nobody' });
  expect((await app.client.renew(lease, { ttl_ms: 60_000 })).status).toBe(200);
  const after = next(observer);
  expect(await Promise.race([after, new Promise((resolve) => setTimeout(resolve, 300, 'nothing'))])).toBe('nothing');
  await app.client.release(lease);
  await using leader = await campaign(client, { election });
  expect(await after).toMatchObject({ kind: 'led', leader: { term: leader.term } });
});

it('says that it does not know while the service does not answer, and what is so afterwards', async () => {
  await using proxy = await TcpProxy.to(app.url);
  const election = anId('cut');
  await using leader = await campaign(client, { election, ttlMs: 20_000 });
  const observer = observe(new SignalboxClient({ url: proxy.through(app.url) }), { election, staleMs: 800 });
  expect(await next(observer)).toMatchObject({ kind: 'led', leader: { term: leader.term } });
  proxy.freeze();
  const cutAtMs = performance.now();
  expect(await next(observer)).toMatchObject({ kind: 'unknown', election });
  expect(performance.now() - cutAtMs).toBeLessThan(2000);
  proxy.thaw();
  expect(await next(observer)).toMatchObject({ kind: 'led', leader: { term: leader.term } });
  await observer.return(undefined);
});

it('nothing is known before the first answer, and the stream ends with its signal', async () => {
  const abort = new AbortController();
  const nowhere = new SignalboxClient({ url: 'http://127.0.0.1:9' });
  const observer = observe(nowhere, { election: 'any', staleMs: 100, signal: abort.signal });
  expect(await next(observer)).toMatchObject({ kind: 'unknown' });
  abort.abort();
  expect(await observer.next()).toMatchObject({ done: true });
});

it('throws what the service refuses', async () => {
  await expect(observe(client, { election: 'no such name!' }).next()).rejects.toMatchObject({
    code: 'invalid_request',
  });
});
