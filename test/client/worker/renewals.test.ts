import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect } from 'vitest';
import { testUnstalled } from '../../support/unstalled.ts';
import { until } from '../../support/until.ts';
import { problem } from '../scripted-service.ts';
import { aWorker, untilAborted } from './a-worker.ts';

describe('renewing', () => {
  testUnstalled('renews all runs at work in one call, a third of the ttl after the last one was sent', async () => {
    await using at = await aWorker(['a', 'b', 'c'], { concurrency: 4 });
    await at.told('taken c');
    await sleep(150);
    at.runs.give('d');
    await at.told('taken d');
    await until(() => at.runs.calls.renew.length >= 3, { what: 'three renewals' });
    const renewals = at.runs.calls.renew;
    const names = renewals.map(({ body }) =>
      (body?.['claims'] as { claim_id: string }[]).map((lease) => lease.claim_id),
    );
    expect(names).toEqual(Array(3).fill(['a', 'b', 'c', 'd']));
    expect(renewals[0]?.url).toBe(`/v1/holders/${encodeURIComponent(at.worker.holder)}/renew`);
    expect(renewals[0]?.body).toEqual({
      claims: [101, 102, 103, 104].map((token, index) => ({
        queue: 'q',
        claim_id: 'abcd'[index],
        fencing_token: token,
      })),
    });
    // Three times 0.4 s, jittered by a twentieth; what is kept waiting on its way makes single gaps shorter.
    expect((renewals[2]?.atMs ?? 0) - (at.runs.calls.take[0]?.atMs ?? 0)).toBeGreaterThan(1000);
    expect(at.events.filter((event) => !event.startsWith('taken'))).toEqual([]);
  });

  testUnstalled('needs no renewal for a short run, and makes none when nothing is at work any more', async () => {
    await using at = await aWorker(['a']);
    await sleep(200);
    await at.desk.end('a');
    await at.told('ended a');
    await sleep(600);
    expect(at.runs.calls.renew).toEqual([]);
  });

  testUnstalled('does not wait for a renewal that hangs: the next one keeps the leases', async () => {
    await using at = await aWorker(['a', 'b'], { concurrency: 2 });
    at.runs.fault = (call, number) => (call === 'renew' && number % 2 === 1 ? 'silence' : undefined);
    await until(() => at.runs.calls.renew.length >= 6, { what: 'six renewals' });
    for (const id of ['a', 'b']) expect((await at.desk.on(id)).context.signal.aborted).toBe(false);
    await at.desk.end('a');
    await at.told('ended a');
  });

  testUnstalled(
    'aborts the run whose lease is lost, with the reason, tells it, reports nothing, and leaves the others alone',
    async () => {
      await using at = await aWorker(['a', 'b', 'c', 'd'], { concurrency: 2 });
      const { context } = await at.desk.on('a');
      at.runs.lost.set('a', 'broken');
      await at.told('lost a broken');
      expect(context.signal.reason).toMatchObject({ name: 'LeaseLostError', reason: 'broken' });
      expect((await at.desk.on('b')).context.signal.aborted).toBe(false);
      // Its place is free only when its handler has ended.
      await at.desk.end('b');
      await at.told('taken c', 'ended b');
      expect(at.runs.calls.take.map(({ body }) => body?.['max'])).toEqual([2, 1]);
      expect(at.worker.running).toBe(2);
      await at.desk.end('a', 'as if nothing had happened');
      await at.told('taken d');
      expect(at.runs.released.map(({ claim_id: id }) => id)).toEqual(['b']);
      expect(at.runs.calls.release).toHaveLength(1);
      await until(() => at.runs.calls.renew.length >= 3, { what: 'more renewals' });
      const last = at.runs.calls.renew.at(-1)?.body?.['claims'] as { claim_id: string }[];
      expect(last.map((lease) => lease.claim_id)).not.toContain('a');
    },
  );

  testUnstalled(
    'aborts at two thirds of the ttl without a renewal, renews on while the handler stops, and then reports',
    async () => {
      await using at = await aWorker(['a']);
      at.runs.fault = (call) => (call === 'renew' ? problem(503, 'database_unavailable') : undefined);
      const { context } = await at.desk.on('a');
      const takenAtMs = at.runs.calls.take[0]?.atMs ?? 0;
      if (!context.signal.aborted) await once(context.signal, 'abort');
      expect(performance.now() - takenAtMs).toBeGreaterThan(780);
      expect(at.events).not.toContain('lost a no_renewal');
      expect(context.signal.reason).toMatchObject({ reason: 'no_renewal' });
      expect(at.events.filter((event) => event === 'unreachable renew').length).toBeGreaterThan(1);
      at.runs.fault = () => undefined;
      const { length } = at.runs.calls.renew;
      await until(() => at.runs.calls.renew.length > length + 2, { what: 'it is renewed on' });
      await at.desk.fail('a', context.signal.reason);
      await at.told('retried a');
      expect(at.runs.released).toMatchObject([{ claim_id: 'a', outcome: 'retry' }]);
      expect(at.runs.released[0]?.retry_after_ms).toBeUndefined();
    },
  );

  testUnstalled('counts a lease as lost at its end, however often its renewal was tried', async () => {
    await using at = await aWorker(['a']);
    at.runs.fault = (call) => (call === 'renew' ? 'hang up' : undefined);
    await at.told('lost a no_renewal');
    const takenAtMs = at.runs.calls.take[0]?.atMs ?? 0;
    expect(performance.now() - takenAtMs).toBeGreaterThan(1180);
    const { length } = at.runs.calls.renew;
    await at.desk.end('a');
    await sleep(300);
    expect(at.runs.calls.renew).toHaveLength(length);
    expect(at.runs.calls.release).toEqual([]);
  });

  testUnstalled(
    'aborts when its release is asked for: cancelled if the handler threw because of it, else what it returned',
    async () => {
      await using thrown = await aWorker(['a'], { handler: untilAborted });
      thrown.runs.cancelled.add('a');
      await using finished = await aWorker(['b']);
      finished.runs.cancelled.add('b');
      const { context } = await finished.desk.on('b');
      await until(() => context.signal.aborted, { what: 'it is told to stop' });
      expect(context.signal.reason).toMatchObject({
        name: 'ReleaseRequestedError',
        reason: 'release_requested',
        message: 'its release was asked for',
      });
      await finished.desk.end('b');
      await Promise.all([thrown.told('ended a'), finished.told('ended b')]);
      expect(thrown.runs.released).toMatchObject([{ claim_id: 'a', outcome: 'cancelled' }]);
      expect(thrown.runs.released[0]).not.toHaveProperty('error');
      expect(finished.runs.released).toMatchObject([{ claim_id: 'b', outcome: 'success' }]);
    },
  );
});
