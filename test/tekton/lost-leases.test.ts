import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { GateBench } from '../support/kubernetes-api/gate-bench.ts';
import { oneService } from '../support/kubernetes-api/one-service.ts';
import { TcpProxy } from '../support/tcp-proxy.ts';
import type { TestApp } from '../support/test-app.ts';
import { until } from '../support/until.ts';

let replica: TestApp;
oneService((service) => (replica = service));

// Long enough for a busy machine to renew in time.
const rules = { queuePrefix: '', ttlMs: 2000 };
const acquire = (queue: string, claim_id: string) => replica.client.acquire(queue, { claim_id, holder: 'outsider' });
const breakClaim = (queue: string, claim: string) =>
  replica.client.ask('POST', `/v1/queues/${queue}/claims/${encodeURIComponent(claim)}/break`, {
    reason: 'stuck',
    actor: 'ann',
  });

describe.concurrent('a service that is away for longer than the ttl', () => {
  it('L6, M15: the going run has its place again before any that waits is started; never do two go', async () => {
    await using proxy = await TcpProxy.to(replica.url);
    await using bench = await GateBench.start(replica.url);
    bench.runs('a', 'b', 'c');
    await bench.gate({ url: proxy.through(replica.url), rules });
    await bench.untilNoted('c', 'position', '2');
    proxy.freeze();
    await sleep(4500);
    proxy.thaw();
    await bench.untilNoted('b', 'decision', 'waiting');
    await until(async () => (await replica.client.queue(bench.queue)).body.holders[0]?.holder.includes('/a:'), {
      what: 'a has its place again',
    });
    expect(bench.tekton.started).toEqual(['a']);
    bench.tekton.finish('a');
    await bench.untilGoing('b');
    bench.tekton.finish('b');
    await bench.untilGoing('c');
    expect(bench.tekton.peak()).toBe(1);
  });

  it('tells that the place is lost, asks for it again before all others, and tells when it has it', async () => {
    await using proxy = await TcpProxy.to(replica.url);
    await using bench = await GateBench.start(replica.url);
    bench.runs('a', 'b');
    await bench.gate({ url: proxy.through(replica.url), rules });
    await bench.untilNoted('b', 'decision', 'waiting');
    const before = bench.note('a', 'fencing-token');
    proxy.freeze();
    await sleep(1800);
    // Somebody else has been quicker.
    await until(async () => (await acquire(bench.queue, 'theirs')).status === 200, {
      what: 'an outsider has the place',
    });
    proxy.thaw();
    await bench.untilNoted('a', 'decision', 'lease_lost');
    await acquire(bench.queue, 'theirs');
    const { body } = await acquire(bench.queue, 'theirs');
    await replica.client.release(body as Parameters<typeof replica.client.release>[0]);
    await bench.untilNoted('a', 'decision', 'recovered');
    expect(Number(bench.note('a', 'fencing-token'))).toBeGreaterThan(Number(before));
    await until(() => bench.api.reasonsOf('a').includes('Recovered'), { what: 'it is told' });
    expect(bench.api.reasonsOf('a')).toContain('LeaseLost');
    expect(bench.tekton.started).toEqual(['a']);
    bench.tekton.finish('a');
    await bench.untilGoing('b');
  });

  it('a short silence loses nothing: the lease is renewed late, and nothing is told', async () => {
    await using proxy = await TcpProxy.to(replica.url);
    await using bench = await GateBench.start(replica.url);
    bench.run('a');
    await bench.gate({ url: proxy.through(replica.url), rules: { ...rules, ttlMs: 6000 } });
    await bench.untilGoing('a');
    proxy.freeze();
    await sleep(3000);
    proxy.thaw();
    await sleep(1500);
    expect(bench.api.reasonsOf('a')).toEqual(['Started']);
    expect(bench.note('a', 'decision')).toBe('started');
  });
});

describe.concurrent('a place that is taken away', () => {
  it('on-lease-lost cancel: the run is cancelled, when the service says that the lease is over', async () => {
    await using bench = await GateBench.start(replica.url);
    bench.run('a', { annotations: { 'signalbox.dev/on-lease-lost': 'cancel' } });
    await bench.gate({ rules });
    await bench.untilNoted('a', 'decision', 'started');
    await breakClaim(bench.queue, bench.note('a', 'claim') ?? '');
    await until(() => bench.tekton.finished === 1, { what: 'it is cancelled' });
    expect(bench.api.runs.get('a').spec.status).toBe('CancelledRunFinally');
    expect(bench.api.reasonsOf('a')).toContain('LeaseLost');
  });

  it('by an operator: the run goes on, its place goes to the next, and it is not asked for again', async () => {
    await using bench = await GateBench.start(replica.url);
    bench.runs('a', 'b');
    await bench.gate({ rules });
    await bench.untilNoted('b', 'decision', 'waiting');
    await breakClaim(bench.queue, bench.note('a', 'claim') ?? '');
    await bench.untilGoing('a', 'b');
    await bench.untilNoted('a', 'decision', 'claim_ended');
    expect(bench.api.runs.get('a').spec.status).toBeUndefined();
  });

  it('P20, P02: a waiting claim that ended because nobody was heard is asked for anew', async () => {
    await using proxy = await TcpProxy.to(replica.url);
    await using bench = await GateBench.start(replica.url);
    await replica.client.put(bench.queue, { waiting_ttl_ms: 1000, paused: true });
    bench.run('a');
    await bench.gate({ url: proxy.through(replica.url), rules });
    await bench.untilNoted('a', 'waiting-for', 'paused');
    proxy.freeze();
    await until(async () => (await replica.client.queue(bench.queue)).body.waiting === 0, {
      what: 'it is out of the line',
    });
    proxy.thaw();
    await replica.client.put(bench.queue, { paused: false });
    await bench.untilGoing('a');
    expect(bench.note('a', 'claim')).toMatch(/\/2$/);
  });
});
