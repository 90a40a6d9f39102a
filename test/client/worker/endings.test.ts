import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect } from 'vitest';
import { testUnstalled } from '../../support/unstalled.ts';
import { until } from '../../support/until.ts';
import { type Answer, problem } from '../scripted-service.ts';
import { aWorker } from './a-worker.ts';

function sizes(calls: readonly { readonly body: Record<string, unknown> | undefined }[]): number[] {
  return calls.map(({ body }) => (body?.['claims'] as unknown[]).length);
}

const names = (count: number) => Array.from({ length: count }, (_none, index) => `run-${index}`);

describe('reporting', () => {
  testUnstalled('reports what ends together in one call, and what ends meanwhile in the next', async () => {
    await using at = await aWorker(['a', 'b', 'c', 'd', 'e'], { concurrency: 5 });
    const answered = Promise.withResolvers<Answer>();
    at.runs.fault = (call, number) => (call === 'release' && number === 1 ? (answered.promise as never) : undefined);
    const [a, b, ...rest] = await Promise.all(['a', 'b', 'c', 'd', 'e'].map((id) => at.desk.on(id)));
    a?.resolve();
    for (let step = 0; step < 20; step++) await Promise.resolve();
    b?.resolve();
    await until(() => at.runs.calls.release.length === 1, { what: 'the first call' });
    for (const work of rest) {
      work.resolve();
      await sleep(10);
    }
    answered.resolve(problem(503, 'overloaded'));
    await at.told('ended a', 'ended b', 'ended c', 'ended d', 'ended e');
    expect(sizes(at.runs.calls.release)).toEqual([2, 5]);
    expect(at.runs.calls.release[0]?.url).toBe(`/v1/holders/${encodeURIComponent(at.worker.holder)}/release`);
    expect(at.runs.calls.release[0]?.body).toEqual({
      claims: [
        { queue: 'q', claim_id: 'a', fencing_token: 101, outcome: 'success' },
        { queue: 'q', claim_id: 'b', fencing_token: 102, outcome: 'success' },
      ],
    });
  });

  testUnstalled('repeats a failed call, and takes no own earlier report for a lost lease', async () => {
    await using at = await aWorker(['a', 'b']);
    at.runs.fault = (call, number) =>
      call !== 'release' ? undefined : (['hang up', 'lost answer'] as const)[number - 1];
    await at.desk.end('a');
    await at.told('ended a', 'unreachable release');
    expect(at.runs.calls.release).toHaveLength(3);
    expect(at.runs.released.map(({ claim_id: id }) => id)).toEqual(['a']);
    // Meanwhile the place was free.
    expect(at.events.indexOf('taken b')).toBeLessThan(at.events.indexOf('ended a'));
  });

  testUnstalled('tells a lease as lost that was over when its end was reported, and only that one', async () => {
    await using at = await aWorker(['a', 'b'], { concurrency: 2 });
    await at.desk.on('b');
    at.runs.lost.set('a', 'expired');
    await Promise.all([at.desk.end('a'), at.desk.end('b')]);
    await at.told('lost a expired', 'ended b');
    expect(at.runs.calls.release).toHaveLength(1);
  });

  testUnstalled('repeats only what the service could not decide', async () => {
    await using at = await aWorker(['a', 'b'], { concurrency: 2 });
    at.runs.fault = (call, number) => {
      if (call !== 'release' || number > 1) return undefined;
      const [a, b] = [...at.runs.held.values()] as { queue: string; claim_id: string }[];
      const busy = { released: false, code: 'database_timeout', detail: 'no answer' };
      return {
        status: 200,
        body: {
          results: [
            { ...a, ...busy },
            { ...b, released: true, state: 'dead' },
          ],
        },
      };
    };
    await at.desk.on('b');
    await Promise.all([at.desk.end('a'), at.desk.fail('b', new Error('for the last time'))]);
    await at.told('ended a', 'failed b');
    expect(sizes(at.runs.calls.release)).toEqual([2, 1]);
  });

  testUnstalled('gives up at the end of the lease, and tells it as lost', async () => {
    await using at = await aWorker(['a']);
    at.runs.fault = (call) => (call === 'release' ? problem(503, 'not_ready') : undefined);
    await at.desk.end('a');
    await at.told('lost a no_renewal');
    const takenAtMs = at.runs.calls.take[0]?.atMs ?? 0;
    expect(performance.now() - takenAtMs).toBeGreaterThan(1150);
    expect(at.runs.calls.release.length).toBeGreaterThan(2);
    const { length } = at.runs.calls.release;
    await sleep(300);
    expect(at.runs.calls.release).toHaveLength(length);
  });

  testUnstalled('never sends more in one call than the service takes', async () => {
    const claimIds = names(300);
    await using at = await aWorker(claimIds, {
      concurrency: 300,
      handler: () => {
        throw new Error('€'.repeat(4000));
      },
    });
    await at.told(...claimIds.map((id) => `retried ${id}`));
    const lengths = at.runs.calls.release.map(({ headers }) => Number(headers['content-length']));
    expect(Math.max(...lengths)).toBeLessThan(1_000_000);
    expect(at.runs.released).toHaveLength(300);
  });
});
