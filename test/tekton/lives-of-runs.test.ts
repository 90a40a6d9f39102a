import { describe, expect, it } from 'vitest';
import { GateBench } from '../support/kubernetes-api/gate-bench.ts';
import { oneService } from '../support/kubernetes-api/one-service.ts';
import type { TestApp } from '../support/test-app.ts';
import { until } from '../support/until.ts';

let replica: TestApp;
oneService((service) => (replica = service));

const heldIn = async (queue: string) => (await replica.client.queue(queue)).body.held;
const claimOf = (bench: GateBench, name: string) => bench.note(name, 'claim') ?? '';

describe.concurrent('the end of a run', () => {
  it('P03: done, its place goes to the next, and the claim has its outcome', async () => {
    await using bench = await GateBench.start(replica.url);
    bench.runs('good', 'bad', 'next');
    await bench.gate();
    await bench.untilGoing('good');
    bench.tekton.finish('good');
    await bench.untilGoing('bad');
    bench.tekton.finish('bad', 'False');
    await bench.untilGoing('next');
    const { body } = await replica.client.get(bench.queue, claimOf(bench, 'bad'));
    expect(body).toMatchObject({ state: 'released', outcome: 'failure' });
    expect(await replica.client.get(bench.queue, claimOf(bench, 'good'))).toMatchObject({
      body: { outcome: 'success' },
    });
    await until(() => bench.api.reasonsOf('good').includes('Released'), { what: 'its release is told' });
    expect([...bench.api.reasonsOf('good')].sort()).toEqual(['Released', 'Started']);
    await until(() => bench.api.reasonsOf('bad').length === 3, { what: 'all of the other is told' });
    expect([...bench.api.reasonsOf('bad')].sort()).toEqual(['Queued', 'Released', 'Started']);
  });

  it('A6: a cancelled run keeps its place until it is done, then it goes on', async () => {
    await using bench = await GateBench.start(replica.url);
    bench.runs('a', 'b');
    await bench.gate();
    await bench.untilGoing('a');
    bench.api.runs.patch('ci', 'a', { spec: { status: 'CancelledRunFinally' } });
    await bench.untilGoing('b');
    expect(bench.tekton.peak()).toBe(1);
    expect(await replica.client.get(bench.queue, claimOf(bench, 'a'))).toMatchObject({
      body: { outcome: 'cancelled' },
    });
  });

  it('P50: a waiting run that is cancelled leaves the line and is never started', async () => {
    await using bench = await GateBench.start(replica.url);
    bench.runs('a', 'b', 'c');
    await bench.gate();
    await bench.untilNoted('c', 'position', '2');
    bench.api.runs.patch('ci', 'b', { spec: { status: 'Cancelled' } });
    await bench.untilNoted('c', 'position', '1');
    bench.tekton.finish('a');
    await bench.untilGoing('c');
    expect(await replica.client.get(bench.queue, claimOf(bench, 'b'))).toMatchObject({ body: { state: 'cancelled' } });
  });

  it('P60: deleted, a waiting one leaves the line, and a going one gives its place back', async () => {
    await using bench = await GateBench.start(replica.url);
    bench.runs('a', 'b', 'c');
    await bench.gate();
    await bench.untilNoted('c', 'position', '2');
    bench.api.runs.delete('b');
    await bench.untilNoted('c', 'position', '1');
    bench.api.runs.delete('a');
    await bench.untilGoing('c');
  });

  it('P85: a run that replaces another of its name is another claim, at the end of the line', async () => {
    await using bench = await GateBench.start(replica.url);
    bench.runs('a', 'b', 'c');
    await bench.gate();
    await bench.untilNoted('c', 'position', '2');
    const before = claimOf(bench, 'b');
    bench.api.runs.delete('b');
    bench.run('b');
    await bench.untilNoted('b', 'position', '2');
    expect(claimOf(bench, 'b')).not.toBe(before);
    expect(await replica.client.get(bench.queue, before)).toMatchObject({ body: { state: 'cancelled' } });
  });

  it('M6, P83: a release that gets no answer is tried again until it has one', async () => {
    await using bench = await GateBench.start(replica.url);
    bench.runs('a', 'b');
    await bench.gate();
    await bench.untilGoing('a');
    await replica.client.put(bench.queue, { paused: true });
    bench.tekton.finish('a');
    await until(async () => (await heldIn(bench.queue)) === 0, { what: 'the place is free' });
    await replica.client.put(bench.queue, { paused: false });
    await bench.untilGoing('b');
  });
});

describe.concurrent('what a gate finds when it starts', () => {
  it('P84, M7, P25: finished and cancelled runs still marked as started hold no place', async () => {
    await using bench = await GateBench.start(replica.url);
    const notes = { 'signalbox.dev/decision': 'started', 'signalbox.dev/fencing-token': '12345' };
    const condition = (status: string, reason: string) => ({
      status: { conditions: [{ type: 'Succeeded', status, reason }] },
    });
    for (const [name, status] of [
      ['done', condition('True', 'Succeeded')],
      ['cancelled', condition('False', 'Cancelled')],
    ] as const) {
      bench.run(name, { annotations: notes });
      bench.api.runs.patch('ci', name, status);
    }
    bench.run('waits');
    await bench.gate();
    await bench.untilGoing('waits');
    await bench.untilNoted('done', 'decision', 'released');
  });

  it('M17: a run that was started past the gate is counted, before those that wait', async () => {
    await using bench = await GateBench.start(replica.url);
    bench.run('past', { specStatus: undefined });
    bench.run('waits');
    await bench.gate();
    await bench.untilNoted('past', 'decision', 'recovered');
    await bench.untilNoted('waits', 'waiting-for', 'no_free_slot');
    expect(bench.tekton.going).toEqual(['past']);
    bench.tekton.finish('past');
    await bench.untilGoing('waits');
    expect(bench.tekton.peak()).toBe(1);
  });

  it('M17: one that somebody starts by hand while it waits is counted before those that wait, and nothing loops', async () => {
    await using bench = await GateBench.start(replica.url);
    bench.runs('a', 'b', 'c');
    await bench.gate();
    await bench.untilNoted('c', 'position', '2');
    bench.api.runs.patch('ci', 'c', { spec: { status: null } });
    await bench.untilGoing('a', 'c');
    await until(async () => (await replica.client.queue(bench.queue)).body.line[0]?.priority === 1_000_000, {
      what: 'it is at the head of the line',
    });
    const before = bench.api.count('patch');
    bench.tekton.finish('a');
    await bench.untilNoted('c', 'decision', 'recovered');
    await bench.untilNoted('b', 'position', '1');
    expect(bench.tekton.going).toEqual(['c']);
    expect(bench.api.count('patch') - before).toBeLessThan(8);
    bench.tekton.finish('c');
    await bench.untilGoing('b');
  });

  it('P06, P21, P45, P47, P51, P75: a run without our annotation is left alone; a malformed one is told why and holds nobody up', async () => {
    await using bench = await GateBench.start(replica.url);
    bench.api.runs.create({ name: 'other', specStatus: 'PipelineRunPending' });
    bench.run('malformed', { annotations: { 'signalbox.dev/priority': 'high', 'signalbox.dev/ttl': 'long' } });
    bench.run('sound');
    await bench.gate();
    await bench.untilGoing('sound');
    await bench.untilNoted('malformed', 'decision', 'refused');
    expect(bench.note('malformed', 'last-error')).toMatch(/priority: .*; .*ttl: /);
    expect(bench.api.runs.get('other').metadata.annotations).toEqual({});
    bench.api.runs.patch('ci', 'malformed', {
      metadata: { annotations: { 'signalbox.dev/priority': null, 'signalbox.dev/ttl': '2s' } },
    });
    await bench.untilNoted('malformed', 'decision', 'waiting');
  });

  it('P48, L10: hundreds of runs come in pages, and only those with the labels asked for', async () => {
    await using bench = await GateBench.start(replica.url);
    await replica.client.put(bench.queue, { concurrency_limit: 1 });
    for (let n = 0; n < 60; n++) bench.run(`r${n}`, { labels: { gate: n % 2 === 0 ? 'ours' : 'theirs' } });
    await bench.gate({ labelSelector: 'gate=ours', pageSize: 7 });
    await until(async () => (await replica.client.queue(bench.queue)).body.waiting === 29, {
      what: '29 wait, one goes',
    });
    expect(bench.api.calls.filter(({ verb, query }) => verb === 'list' && query.get('limit') === '7')).toHaveLength(5);
  });

  it('a page that has expired begins the list anew; nothing is missed', async () => {
    await using bench = await GateBench.start(replica.url);
    for (let n = 0; n < 10; n++) bench.run(`r${n}`);
    let pages = 0;
    bench.api.fault = ({ verb }) => {
      if (verb === 'list' && ++pages === 3) bench.api.expireContinuations();
      return undefined;
    };
    await bench.gate({ pageSize: 3 });
    await until(async () => (await replica.client.queue(bench.queue)).body.waiting === 9, { what: 'all are in line' });
  });
});

describe.concurrent('what people do', () => {
  it('a claim cancelled by an operator is not asked for again until the decision is removed', async () => {
    await using bench = await GateBench.start(replica.url);
    bench.runs('a', 'b');
    await bench.gate();
    await bench.untilNoted('b', 'decision', 'waiting');
    await replica.client.ask(
      'POST',
      `/v1/queues/${bench.queue}/claims/${encodeURIComponent(claimOf(bench, 'b'))}/cancel`,
      {},
    );
    await bench.untilNoted('b', 'decision', 'claim_ended');
    bench.tekton.finish('a');
    await bench.untilNoted('a', 'decision', 'released');
    expect(bench.tekton.going).toEqual([]);
    expect(bench.api.reasonsOf('b')).toContain('ClaimEnded');
    bench.api.runs.patch('ci', 'b', { metadata: { annotations: { 'signalbox.dev/decision': null } } });
    await bench.untilGoing('b');
    expect(claimOf(bench, 'b')).toMatch(/\/2$/);
  });

  it('a waiting run whose queue is changed leaves the old line for the new one', async () => {
    await using bench = await GateBench.start(replica.url);
    bench.runs('a', 'b');
    await bench.gate();
    await bench.untilNoted('b', 'decision', 'waiting');
    bench.api.runs.patch('ci', 'b', { metadata: { annotations: { 'signalbox.dev/queue': `${bench.queue}/b` } } });
    await bench.untilGoing('a', 'b');
    expect((await replica.client.queue(bench.queue)).body.waiting).toBe(0);
  });

  it('a run that goes from one queue to another and back is in line each time', async () => {
    await using bench = await GateBench.start(replica.url);
    const moved = (queue: string) =>
      bench.api.runs.patch('ci', 'b', { metadata: { annotations: { 'signalbox.dev/queue': queue } } });
    await replica.client.put(`${bench.queue}/b`, { paused: true });
    bench.runs('a', 'b');
    await Promise.all([bench.gate({ token: 'one' }), bench.gate({ token: 'two' })]);
    await bench.untilNoted('b', 'waiting-for', 'no_free_slot');
    moved(`${bench.queue}/b`);
    await bench.untilNoted('b', 'waiting-for', 'paused');
    moved(bench.queue);
    await bench.untilNoted('b', 'waiting-for', 'no_free_slot');
    bench.tekton.finish('a');
    await bench.untilGoing('b');
    expect(bench.api.reasonsOf('b')).not.toContain('ClaimEnded');
  });

  it('a place asked back through the service is told on the run, which keeps it until it is done', async () => {
    await using bench = await GateBench.start(replica.url);
    bench.run('a', { annotations: { 'signalbox.dev/ttl': '1s' } });
    await bench.gate();
    await bench.untilNoted('a', 'decision', 'started');
    await replica.client.ask(
      'POST',
      `/v1/queues/${bench.queue}/claims/${encodeURIComponent(claimOf(bench, 'a'))}/cancel`,
      {},
    );
    await until(() => bench.api.reasonsOf('a').includes('ReleaseRequested'), { what: 'it is told' });
    expect(bench.tekton.going).toEqual(['a']);
  });

  it('L7, P30: while nothing changes, nothing is written, however long it takes', async () => {
    await using bench = await GateBench.start(replica.url);
    bench.runs('a', 'b', 'c');
    await bench.gate();
    await bench.untilNoted('c', 'position', '2');
    await until(() => bench.api.count('event') >= 3, { what: 'all is told' });
    await bench.untilNoted('b', 'waiting-for', 'no_free_slot');
    const writes = () => bench.api.count('patch') + bench.api.count('event');
    const before = writes();
    await new Promise((resolve) => setTimeout(resolve, 1000));
    expect(writes()).toBe(before);
  });

  it('P29: a run that leaves the line loses its position and its reason', async () => {
    await using bench = await GateBench.start(replica.url);
    bench.runs('a', 'b');
    await bench.gate();
    await bench.untilNoted('b', 'position', '1');
    bench.tekton.finish('a');
    await bench.untilNoted('b', 'decision', 'started');
    const { annotations = {} } = bench.api.runs.get('b').metadata;
    expect(Object.keys(annotations).sort()).toEqual(
      ['claim', 'claimed-queue', 'decision', 'fencing-token', 'queue'].map((name) => `signalbox.dev/${name}`),
    );
  });
});
