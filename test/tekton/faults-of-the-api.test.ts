import { describe, expect, it } from 'vitest';
import { failureOfStatus } from '../../src/tekton/cluster.ts';
import { firstTimes, isStart, isStartOf } from '../support/kubernetes-api/faults.ts';
import { GateBench } from '../support/kubernetes-api/gate-bench.ts';
import { oneService } from '../support/kubernetes-api/one-service.ts';
import type { ApiCall, Fault } from '../support/kubernetes-api/server.ts';
import type { TestApp } from '../support/test-app.ts';
import { until } from '../support/until.ts';

let replica: TestApp;
oneService((service) => (replica = service));

/** From now on until `open()`. */
function closed(fits: (call: ApiCall) => boolean, fault: Fault) {
  let isClosed = true;
  return { fault: (call: ApiCall) => (isClosed && fits(call) ? fault : undefined), open: () => (isClosed = false) };
}

describe('P87: an answer of the API server', () => {
  it.each([
    [409, 'conflict'],
    [404, 'not_found'],
    [410, 'not_found'],
    [429, 'not_done'],
    [408, 'unknown'],
    [500, 'unknown'],
    [503, 'unknown'],
    [504, 'unknown'],
    [400, 'refused'],
    [401, 'refused'],
    [403, 'refused'],
    [422, 'refused'],
  ] as const)('%i is %s', (status, failure) => {
    expect(failureOfStatus(status)).toBe(failure);
  });
});

describe.concurrent('a start whose outcome is not known', () => {
  it.each([
    ['P52, P81, M3: stored, the answer lost', 'lost answer'],
    ['stored, and answered with 504', { status: 504 }],
    ['not stored, the connection broken', 'lost request'],
    ['M2: refused for the moment (429)', { status: 429 }],
    ['an error of the server (500)', { status: 500 }],
    ['L2: stored only later, behind our back', { doneAfterMs: 150 }],
  ] as const)('%s: the place is kept, the run read back, and only one goes', async (_, fault) => {
    await using bench = await GateBench.start(replica.url);
    bench.api.fault = firstTimes(2, isStartOf('a'), fault);
    bench.runs('a', 'b');
    await bench.gate();
    await bench.untilGoing('a');
    await bench.untilNoted('a', 'decision', 'started');
    await until(() => bench.api.reasonsOf('a').includes('Started'), { what: 'its start is told' });
    expect(bench.api.calls.some(({ verb, name }) => verb === 'get' && name === 'a')).toBe(true);
    bench.tekton.finish('a');
    await bench.untilGoing('b');
    expect(bench.tekton.started).toEqual(['a', 'b']);
    expect(bench.tekton.peak()).toBe(1);
  });

  it('P82, M4: reads that fail meanwhile change nothing; it keeps its place', async () => {
    await using bench = await GateBench.start(replica.url);
    const start = firstTimes(1, isStartOf('a'), 'lost answer');
    const read = firstTimes(4, ({ verb }) => verb === 'get', { status: 503 });
    bench.api.fault = (call) => start(call) ?? read(call);
    bench.runs('a', 'b');
    await bench.gate();
    await until(() => bench.api.reasonsOf('a').includes('Started'), { what: 'its start is told' });
    expect(bench.tekton.started).toEqual(['a']);
  });
});

describe.concurrent('a start that is refused', () => {
  it('P07, P27, P53, P54, M2, M5: the place goes to the next; the refused one comes again, at its old place', async () => {
    await using bench = await GateBench.start(replica.url);
    const door = closed(isStartOf('a'), { status: 403, message: 'denied by a webhook' });
    bench.api.fault = door.fault;
    bench.runs('a', 'b', 'c');
    await bench.gate();
    await bench.untilGoing('b');
    expect(bench.api.reasonsOf('a')).toContain('StartFailed');
    expect(bench.note('a', 'last-error')).toMatch(/denied by a webhook/);
    door.open();
    await bench.untilNoted('a', 'waiting-for', 'no_free_slot');
    bench.tekton.finish('b');
    await bench.untilGoing('a');
    expect(bench.tekton.peak()).toBe(1);
  });

  it('P28: with every write to it refused, even the mark, the place still goes on', async () => {
    await using bench = await GateBench.start(replica.url);
    const door = closed(({ verb, name }) => verb === 'patch' && name === 'a', { status: 403, message: 'no' });
    bench.api.fault = door.fault;
    bench.runs('a', 'b');
    await bench.gate();
    await bench.untilGoing('b');
    door.open();
    bench.tekton.finish('b');
    await bench.untilGoing('a');
  });
});

describe.concurrent('writes and watches that fail', () => {
  it.each([500, 403, 429])(
    'P77: all writes answered %i for a while after an end: all five finish, one at a time',
    async (status) => {
      await using bench = await GateBench.start(replica.url, { runMs: 20 });
      bench.runs('a', 'b', 'c', 'd', 'e');
      const door = closed(({ verb }) => verb === 'patch' && bench.tekton.finished > 0, { status });
      bench.api.fault = door.fault;
      await bench.gate();
      await bench.untilFinished(1);
      await until(() => bench.api.calls.filter((call) => door.fault(call) !== undefined).length >= 5, {
        what: 'some fail',
      });
      door.open();
      await bench.untilFinished(5);
      expect(bench.tekton.peak()).toBe(1);
      await until(
        async () => {
          const { held, waiting } = (await replica.client.queue(bench.queue)).body;
          return held + waiting === 0;
        },
        { what: 'the queue is empty' },
      );
    },
  );

  it('conflicts: somebody else writes to the run in the same moment, and it starts all the same', async () => {
    await using bench = await GateBench.start(replica.url);
    let changes = 0;
    bench.api.fault = (call) => {
      if (isStart(call) && changes++ < 3)
        bench.api.runs.patch('ci', 'a', { metadata: { labels: { n: `${changes}` } } });
      return undefined;
    };
    bench.runs('a');
    await bench.gate();
    await bench.untilGoing('a');
    expect(changes).toBe(4);
  });

  it('events that cannot be written hold nothing up', async () => {
    await using bench = await GateBench.start(replica.url, { runMs: 10 });
    bench.api.fault = ({ verb }) => (verb === 'event' ? { status: 500 } : undefined);
    bench.runs('a', 'b');
    await bench.gate();
    await bench.untilFinished(2);
  });

  it('watches that break or are too old (410), and lists that fail, lose no run and no end of a run', async () => {
    await using bench = await GateBench.start(replica.url);
    bench.api.fault = firstTimes(2, ({ verb }) => verb === 'list', { status: 500 });
    bench.runs('a', 'b');
    await bench.gate();
    await bench.untilGoing('a');
    bench.api.fault = firstTimes(1, ({ verb }) => verb === 'watch', { status: 500 });
    bench.api.dropWatches();
    bench.tekton.finish('a');
    bench.api.runs.compact();
    await bench.untilGoing('b');
    bench.api.dropWatches();
    bench.run('c');
    bench.api.runs.delete('b');
    await bench.untilGoing('c');
    expect(bench.tekton.peak()).toBe(1);
  });

  it('watches take bookmarks, so a quiet one goes on from where the cluster is', async () => {
    await using bench = await GateBench.start(replica.url);
    await bench.gate({ namespaces: ['ci'] });
    await until(() => bench.api.count('watch') === 1, { what: 'a watch is open' });
    for (let n = 0; n < 20; n++) bench.run(`other-${n}`, { namespace: 'elsewhere' });
    await new Promise((resolve) => setTimeout(resolve, 300));
    bench.api.runs.compact();
    bench.api.dropWatches();
    bench.run('a');
    await bench.untilGoing('a');
    expect(bench.api.count('list')).toBe(1);
  });
});
