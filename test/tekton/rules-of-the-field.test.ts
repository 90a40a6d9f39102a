import { describe, expect, it } from 'vitest';
import { attemptOf, claimIdOf, holderOf } from '../../src/tekton/claim-name.ts';
import { readDemand } from '../../src/tekton/demand.ts';
import { lifeOf, outcomeOf, type PipelineRun, readRun } from '../../src/tekton/pipeline-run.ts';
import { GateBench } from '../support/kubernetes-api/gate-bench.ts';
import { oneService } from '../support/kubernetes-api/one-service.ts';
import type { TestApp } from '../support/test-app.ts';
import { until } from '../support/until.ts';

/**
 * The rows of the field's list (P scenarios, M failures of the memory queue, L defects of the lease queue) are the names of the
 * tests in this folder. All rows, and which do not apply to a gate, are in test/scenario/concurrency-queue-rows.ts.
 */
let replica: TestApp;
oneService((service) => (replica = service));

const base: PipelineRun = {
  namespace: 'ci',
  name: 'a',
  uid: '00000000-0000-4000-8000-000000000001',
  resourceVersion: '7',
  createdAt: '2026-01-01T00:00:00Z',
  annotations: {},
  labels: {},
  asked: undefined,
  succeeded: undefined,
  reason: undefined,
  hasStartTime: false,
  isBeingDeleted: false,
};
const rules = { queuePrefix: '', ttlMs: 30_000 };

describe('P25: whether a run goes', () => {
  it.each([
    ['pending', { asked: 'PipelineRunPending' }, 'pending'],
    ['nothing asked, no status yet', {}, 'going'],
    ['running', { succeeded: 'Unknown', hasStartTime: true }, 'going'],
    ['cancelled, and not ended yet', { asked: 'Cancelled', succeeded: 'Unknown', hasStartTime: true }, 'going'],
    ['cancelled gracefully before it began: what is under finally runs', { asked: 'CancelledRunFinally' }, 'going'],
    ['cancelled before it began', { asked: 'Cancelled' }, 'finished'],
    ['succeeded', { succeeded: 'True', hasStartTime: true }, 'finished'],
    ['failed', { succeeded: 'False', hasStartTime: true }, 'finished'],
    ['being deleted: not gone before it is gone', { succeeded: 'Unknown', isBeingDeleted: true }, 'going'],
  ] as const)('%s', (_, fields, life) => {
    expect(lifeOf({ ...base, ...fields })).toBe(life);
  });

  it('how it ended', () => {
    expect(outcomeOf({ ...base, succeeded: 'True', reason: 'Completed' })).toBe('success');
    expect(outcomeOf({ ...base, succeeded: 'False', reason: 'Failed' })).toBe('failure');
    expect(outcomeOf({ ...base, succeeded: 'False', reason: 'Cancelled' })).toBe('cancelled');
    expect(outcomeOf({ ...base, asked: 'Cancelled' })).toBe('cancelled');
  });
});

describe('M9, P80: what others may have written', () => {
  it.each(['', 'x', '/x', 'x/', 'a/b/c', 'pipelinerun/x/1', `${claimIdOf(base.uid, 1)}x`, 'pipelinerun//9'])(
    'a claim annotation of "%s" is the first wish',
    (claim) => {
      expect(attemptOf({ ...base, annotations: { 'signalbox.dev/claim': claim } })).toBe(1);
    },
  );

  it('its own claim says which wish it is at', () => {
    expect(attemptOf({ ...base, annotations: { 'signalbox.dev/claim': claimIdOf(base.uid, 12) } })).toBe(12);
  });

  it.each([undefined, null, 5, 'x', [], {}, { metadata: 5 }, { metadata: { name: 'a', namespace: 'b' } }])(
    'an object that is no run (%j) is passed over',
    (object) => {
      expect(readRun(object)).toBeUndefined();
    },
  );

  it('all that cannot be used of the annotations is told at once', () => {
    const reading = readDemand(
      {
        ...base,
        annotations: {
          'signalbox.dev/queue': 'no spaces',
          'signalbox.dev/priority': '1000000',
          'signalbox.dev/ttl': '1d',
          'signalbox.dev/on-lease-lost': 'kill',
        },
      },
      rules,
    );
    expect(reading.kind).toBe('unusable');
    expect(JSON.stringify(reading)).toMatch(/queue.*priority.*ttl.*on-lease-lost/);
  });

  it('a holder fits the service however long the name is', () => {
    const holder = holderOf({ ...base, namespace: 'n'.repeat(63), name: 'r'.repeat(253) });
    expect(holder.length).toBeLessThanOrEqual(200);
  });
});

describe.concurrent('what is written', () => {
  it('L2, L3: every write names uid and version, and no annotation holds a time', async () => {
    await using bench = await GateBench.start(replica.url, { runMs: 20 });
    bench.runs('a', 'b', 'c');
    await bench.gate();
    await bench.untilFinished(3);
    await bench.untilNoted('c', 'decision', 'released');
    const patches = bench.api.calls.filter(({ verb }) => verb === 'patch').map(({ body }) => body);
    expect(patches.length).toBeGreaterThan(6);
    for (const patch of patches) {
      const { uid, resourceVersion } = (patch as { metadata: { uid?: string; resourceVersion?: string } }).metadata;
      expect(uid).toMatch(/^[0-9a-f-]{36}$/);
      expect(resourceVersion).toMatch(/^\d+$/);
    }
    expect(JSON.stringify(patches)).not.toMatch(/\d{4}-\d\d-\d\d/);
  });

  it('one patch starts a run: pending bit, token and claim together; the token is the one that the service knows', async () => {
    await using bench = await GateBench.start(replica.url);
    const { metadata } = bench.run('a');
    await bench.gate();
    await bench.untilGoing('a');
    const [start] = bench.api.calls.filter(({ verb }) => verb === 'patch');
    const [holder] = (await replica.client.queue(bench.queue)).body.holders;
    expect(start?.body).toMatchObject({
      metadata: {
        uid: metadata.uid,
        resourceVersion: metadata.resourceVersion,
        annotations: {
          'signalbox.dev/fencing-token': `${holder?.fencing_token}`,
          'signalbox.dev/claim': claimIdOf(metadata.uid, 1),
          'signalbox.dev/claimed-queue': bench.queue,
        },
      },
      spec: { status: null },
    });
  });

  it('L9: a position on a run is the position in the line of the service', async () => {
    await using bench = await GateBench.start(replica.url);
    bench.runs('a', 'b', 'c', 'd');
    await bench.gate();
    await bench.untilNoted('d', 'position', '3');
    const { line } = (await replica.client.queue(bench.queue)).body;
    for (const { claim_id, position } of line) {
      const name = ['b', 'c', 'd'].find((one) => bench.note(one, 'claim') === claim_id) ?? '';
      expect(bench.note(name, 'position')).toBe(`${position}`);
    }
    expect(line).toHaveLength(3);
  });

  it('M1: nothing that fails after the start gives the place back', async () => {
    await using bench = await GateBench.start(replica.url);
    bench.api.fault = ({ verb }) =>
      bench.tekton.started.length > 0 && (verb === 'event' || verb === 'patch') ? { status: 500 } : undefined;
    bench.runs('a', 'b');
    await bench.gate({ rules: { ...rules, ttlMs: 1500 } });
    await bench.untilGoing('a');
    await new Promise((resolve) => setTimeout(resolve, 2000));
    expect(bench.tekton.started).toEqual(['a']);
    expect((await replica.client.queue(bench.queue)).body.held).toBe(1);
  });

  it('P76: runs of some queues deleted mid-flight leave the others as they are', async () => {
    await using bench = await GateBench.start(replica.url, { runMs: 150 });
    for (const queue of ['q1', 'q2', 'q3', 'q4'])
      for (const n of [1, 2, 3])
        bench.run(`${queue}-${n}`, { annotations: { 'signalbox.dev/queue': `${bench.queue}/${queue}` } });
    await bench.gate();
    await until(() => bench.tekton.going.length >= 3, { what: 'most are busy' });
    for (const queue of ['q1', 'q2']) for (const n of [1, 2, 3]) bench.api.runs.delete(`${queue}-${n}`);
    const ended = () => bench.api.runs.list().filter(({ status }) => status?.completionTime !== undefined).length;
    await until(() => ended() === 6, { what: 'the other two queues are done' });
    for (const queue of ['q3', 'q4']) expect(bench.tekton.peak(queue)).toBe(1);
  });
});
