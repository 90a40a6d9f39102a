import { describe, expect, it } from 'vitest';
import { firstTimes, isStartOf } from '../support/kubernetes-api/faults.ts';
import { GateBench } from '../support/kubernetes-api/gate-bench.ts';
import { oneService } from '../support/kubernetes-api/one-service.ts';
import type { TestApp } from '../support/test-app.ts';
import { until } from '../support/until.ts';

/** Runs whose turn comes and that cannot go, are gone, or ended behind the gate's back. */
let replica: TestApp;
oneService((service) => (replica = service));

const untilEmpty = (queue: string) =>
  until(
    async () => {
      const { held, waiting } = (await replica.client.queue(queue)).body;
      return held + waiting === 0;
    },
    { what: 'nobody is in the queue' },
  );

describe.concurrent('the next in line', () => {
  it('P23: that was cancelled while the gate saw nothing is not started, and its place goes on', async () => {
    await using bench = await GateBench.start(replica.url);
    bench.runs('a', 'b', 'c');
    await bench.gate();
    await bench.untilNoted('c', 'position', '2');
    bench.api.fault = ({ verb }) => (verb === 'watch' || verb === 'list' ? { status: 503 } : undefined);
    bench.api.dropWatches();
    bench.api.runs.patch('ci', 'b', { spec: { status: 'Cancelled' } });
    await replica.client.put(bench.queue, { concurrency_limit: 2 });
    await bench.untilGoing('a', 'c');
    expect(bench.tekton.started).toEqual(['a', 'c']);
    expect(bench.api.calls.some(isStartOf('b'))).toBe(true);
  });

  it('P55, P58: with all of them gone nothing fails and nothing is held; a new one goes at once', async () => {
    await using bench = await GateBench.start(replica.url);
    bench.runs('done', 'a', 'b');
    let isArmed = true;
    bench.api.fault = (call) => {
      if (isArmed && isStartOf('a')(call)) {
        isArmed = false;
        bench.api.runs.delete('a');
        bench.api.runs.delete('b');
      }
      return undefined;
    };
    await bench.gate();
    await bench.untilGoing('done');
    await bench.untilNoted('b', 'position', '2');
    bench.tekton.finish('done');
    await untilEmpty(bench.queue);
    bench.run('fresh');
    await bench.untilGoing('fresh');
    expect(bench.tekton.started).toEqual(['done', 'fresh']);
    expect(bench.log.filter(({ level }) => level === 'warn')).toEqual([]);
  });

  it.each([
    ['P56: gone', ['done', 'c']],
    ['P56: refused', ['done', 'c']],
    ['P56: started, with the answer lost', ['done', 'b']],
  ] as const)('%s, when one ends: exactly one other goes', async (what, started) => {
    await using bench = await GateBench.start(replica.url);
    bench.runs('done', 'b', 'c');
    const lost = firstTimes(1, isStartOf('b'), 'lost answer');
    bench.api.fault = (call) => {
      if (what.endsWith('lost')) return lost(call);
      if (!isStartOf('b')(call)) return undefined;
      if (what.endsWith('gone') && bench.api.runs.find('ci', 'b') !== undefined) bench.api.runs.delete('b');
      return what.endsWith('refused') ? { status: 403, message: 'no' } : undefined;
    };
    await bench.gate();
    await bench.untilGoing('done');
    await bench.untilNoted('c', 'position', '2');
    bench.tekton.finish('done');
    await bench.untilGoing(started[1]);
    await bench.untilNoted(started[1], 'decision', 'started');
    expect(bench.tekton.started).toEqual(started);
    expect((await replica.client.queue(bench.queue)).body.held).toBe(1);
  });
});

describe.concurrent('runs that are over', () => {
  it('P31: one loses what still says that it waits by one write; one that says nothing such is not written to', async () => {
    await using bench = await GateBench.start(replica.url);
    const succeeded = { status: { conditions: [{ type: 'Succeeded', status: 'True', reason: 'Succeeded' }] } };
    const noted = { 'signalbox.dev/claimed-queue': bench.queue, 'signalbox.dev/claim': 'pipelinerun/x/1' };
    const place = { 'signalbox.dev/position': '3', 'signalbox.dev/waiting-for': 'no_free_slot' };
    bench.run('stale', { annotations: { ...noted, ...place, 'signalbox.dev/decision': 'waiting' } });
    bench.run('clean', { annotations: { ...noted, 'signalbox.dev/decision': 'released' } });
    for (const name of ['stale', 'clean']) bench.api.runs.patch('ci', name, succeeded);
    bench.run('waits');
    await bench.gate();
    await bench.untilGoing('waits');
    await until(() => bench.note('stale', 'position') === undefined, { what: 'the stale one is clean' });
    expect(bench.note('stale', 'waiting-for')).toBeUndefined();
    const writesTo = (name: string) => bench.api.calls.filter((call) => call.verb === 'patch' && call.name === name);
    expect([writesTo('stale').length, writesTo('clean').length]).toEqual([1, 0]);
  });

  it('P78, M14: somebody cleans up all but one as they end: twelve runs go once each, and the line never stands', async () => {
    await using bench = await GateBench.start(replica.url, { runMs: 20 });
    await replica.client.put(bench.queue, { concurrency_limit: 2 });
    let last: string | undefined;
    bench.api.runs.onChange(({ type, run }) => {
      if (type !== 'MODIFIED' || run.status?.completionTime === undefined || last === run.metadata.name) return;
      const before = last;
      last = run.metadata.name;
      if (before !== undefined) queueMicrotask(() => bench.api.runs.delete(before));
    });
    const names = ['pr1', 'pr2', 'retest1', 'retest2'].flatMap((one) => [`${one}-a`, `${one}-b`, `${one}-c`]);
    bench.runs(...names);
    await bench.gate();
    await bench.untilFinished(12);
    await untilEmpty(bench.queue);
    expect(bench.tekton.intervals).toHaveLength(12);
    expect(bench.tekton.peak()).toBe(2);
    expect(bench.api.runs.list()).toHaveLength(1);
  });
});
