import { describe, expect, it } from 'vitest';
import { GateBench } from '../support/kubernetes-api/gate-bench.ts';
import { oneService } from '../support/kubernetes-api/one-service.ts';
import type { TestApp } from '../support/test-app.ts';
import { until } from '../support/until.ts';

let replica: TestApp;
oneService((service) => (replica = service));

const limitOf = (bench: GateBench, concurrency_limit: number | null) =>
  replica.client.put(bench.queue, { concurrency_limit });

describe.concurrent('order', () => {
  it('P01, P18: of two runs the older goes, the younger waits, and both say so', async () => {
    await using bench = await GateBench.start(replica.url);
    bench.runs('a', 'b');
    await bench.gate();
    await bench.untilGoing('a');
    await bench.untilNoted('b', 'decision', 'waiting');
    expect(bench.note('a', 'decision')).toBe('started');
    expect(bench.note('b', 'position')).toBe('1');
    expect(bench.note('b', 'waiting-for')).toBe('no_free_slot');
  });

  it('P70, M18: ten runs all finish in their order; by the recorded times at most one ever went', async () => {
    await using bench = await GateBench.start(replica.url, { runMs: 30 });
    const names = Array.from({ length: 10 }, (_, n) => `r${n}`);
    bench.runs(...names);
    await bench.gate();
    await bench.untilFinished(10);
    expect(bench.tekton.peak()).toBe(1);
    expect(bench.tekton.started).toEqual(names);
    expect(bench.log.filter(({ level }) => level === 'warn')).toEqual([]);
    await until(async () => (await replica.client.queue(bench.queue)).body.held === 0, { what: 'all places are free' });
  });

  it('P46, P63: runs that were there before the gate stand in line by their creation, then by name', async () => {
    await using bench = await GateBench.start(replica.url, { runMs: 10 });
    bench.runs('pqr', 'abc', 'mno', 'def');
    await bench.gate();
    await bench.untilFinished(4);
    expect(bench.tekton.started).toEqual(['pqr', 'abc', 'mno', 'def']);
  });

  it('L8, P05: those who come later do not overtake; a higher priority does', async () => {
    await using bench = await GateBench.start(replica.url);
    bench.runs('going', 'early');
    await bench.gate();
    await bench.untilNoted('early', 'position', '1');
    bench.run('later');
    bench.run('urgent', { annotations: { 'signalbox.dev/priority': '5' } });
    await bench.untilNoted('urgent', 'position', '1');
    await bench.untilNoted('early', 'position', '2');
    await bench.untilNoted('later', 'position', '3');
  });

  it('P08, P04: queues are told apart by their exact names; one with its own places is not held up', async () => {
    await using bench = await GateBench.start(replica.url);
    bench.run('slash', { annotations: { 'signalbox.dev/queue': `${bench.queue}/repo` } });
    bench.run('colon', { annotations: { 'signalbox.dev/queue': `${bench.queue}:repo` } });
    await bench.gate();
    await bench.untilGoing('slash', 'colon');
  });

  it('a prefix with {namespace} gives each namespace queues of its own', async () => {
    await using bench = await GateBench.start(replica.url);
    bench.run('one');
    bench.run('two', { namespace: 'team' });
    await bench.gate({ rules: { queuePrefix: 'k8s/{namespace}/', ttlMs: 5000 } });
    await bench.untilGoing('one', 'two');
    expect(bench.note('one', 'claimed-queue')).toBe(`k8s/ci/${bench.queue}`);
  });
});

describe.concurrent('limits that change while runs wait', () => {
  it('P72, M12: raising the limit from 1 to 5 starts the others at once, though nothing has ended', async () => {
    await using bench = await GateBench.start(replica.url);
    bench.runs('a', 'b', 'c', 'd', 'e');
    await bench.gate();
    await bench.untilGoing('a');
    await limitOf(bench, 5);
    await bench.untilGoing('a', 'b', 'c', 'd', 'e');
    expect(bench.tekton.finished).toBe(0);
  });

  it('P73, L5, M11, P49: removing the limit starts all that wait', async () => {
    await using bench = await GateBench.start(replica.url);
    bench.runs('a', 'b', 'c');
    await bench.gate();
    await bench.untilGoing('a');
    await limitOf(bench, null);
    await bench.untilGoing('a', 'b', 'c');
  });

  it('P40, P86: lowering it stops nobody; the next one starts when enough have ended', async () => {
    await using bench = await GateBench.start(replica.url);
    await limitOf(bench, 2);
    bench.runs('a', 'b', 'c', 'd');
    await bench.gate();
    await bench.untilGoing('a', 'b');
    await limitOf(bench, 1);
    bench.tekton.finish('a');
    await bench.untilNoted('a', 'decision', 'released');
    expect(bench.tekton.going).toEqual(['b']);
    bench.tekton.finish('b');
    await bench.untilGoing('c');
    expect(bench.tekton.peak()).toBe(2);
  });

  it('L6: with a place free beside a long run, the next one starts', async () => {
    await using bench = await GateBench.start(replica.url);
    await limitOf(bench, 2);
    bench.runs('long', 'short', 'next');
    await bench.gate();
    await bench.untilGoing('long', 'short');
    bench.tekton.finish('short', 'False');
    await bench.untilGoing('long', 'next');
  });

  it('L4: several places that come free are all used', async () => {
    await using bench = await GateBench.start(replica.url);
    await limitOf(bench, 3);
    bench.runs('a', 'b', 'c', 'd', 'e', 'f');
    await bench.gate();
    await bench.untilGoing('a', 'b', 'c');
    for (const name of ['a', 'b', 'c']) bench.tekton.finish(name);
    await bench.untilGoing('d', 'e', 'f');
    expect(bench.tekton.peak()).toBe(3);
  });
});
