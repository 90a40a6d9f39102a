import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect } from 'vitest';
import { testUnstalled } from '../../support/unstalled.ts';
import { until } from '../../support/until.ts';
import { problem } from '../scripted-service.ts';
import { aWorker } from './a-worker.ts';

describe('taking', () => {
  testUnstalled('asks only for as many runs as it can work on, and for none while it is full', async () => {
    await using at = await aWorker(['a', 'b', 'c', 'd'], { concurrency: 3 });
    await at.told('taken a', 'taken b', 'taken c');
    expect(at.runs.calls.take.map(({ body }) => body?.['max'])).toEqual([3]);
    await sleep(150);
    expect(at.runs.calls.take).toHaveLength(1);
    expect(at.runs.held.size).toBe(3);
    await at.desk.end('b');
    await at.told('taken d', 'ended b');
    expect(at.runs.calls.take.map(({ body }) => body?.['max'])).toEqual([3, 1]);
    expect(at.worker.running).toBe(3);
  });

  testUnstalled('has one take under way at a time, and asks in one call for what ends together', async () => {
    await using at = await aWorker(['a', 'b', 'c'], { concurrency: 3 });
    await at.told('taken c');
    for (const id of ['a', 'b']) await at.desk.on(id);
    await Promise.all([at.desk.end('a'), at.desk.end('b')]);
    await at.told('ended a', 'ended b');
    await until(() => at.runs.calls.take.length === 2, { what: 'the second take' });
    await at.desk.end('c');
    await at.told('ended c');
    at.runs.give('d');
    await at.told('taken d');
    await until(() => at.runs.calls.take.length === 3, { what: 'the third take' });
    expect(at.runs.calls.take.map(({ body }) => body?.['max'])).toEqual([3, 2, 2]);
    const ids = new Set(at.runs.calls.take.map(({ body }) => body?.['request_id']));
    expect(ids.size).toBe(3);
  });

  testUnstalled(
    'goes on after failed takes, more and more rarely, and quickly again after one that worked',
    async () => {
      await using runs = await aWorker([], { waitMs: 50 });
      runs.runs.fault = (call, number) => (call === 'take' && number < 5 ? problem(503, 'not_ready') : undefined);
      await until(() => runs.runs.calls.take.length >= 5, { what: 'five takes' });
      const failed = runs.runs.calls.take.slice(0, 5).map(({ atMs }) => atMs);
      // 0.1, 0.2, 0.4 and 0.8 s at most, and a tenth of it at least.
      expect((failed[4] ?? 0) - (failed[0] ?? 0)).toBeGreaterThan(150);
      expect(runs.events.filter((event) => event === 'unreachable take').length).toBeGreaterThanOrEqual(4);
      runs.runs.give('a');
      await runs.told('taken a');
      runs.runs.fault = (call) => (call === 'take' ? problem(503, 'not_ready') : undefined);
      const before = runs.runs.calls.take.length;
      const endedAtMs = performance.now();
      await runs.desk.end('a');
      await until(() => runs.runs.calls.take.length >= before + 2, { what: 'two more takes' });
      const [, second] = runs.runs.calls.take.slice(before);
      expect((second?.atMs ?? 0) - endedAtMs).toBeLessThan(250);
    },
  );

  testUnstalled('tells a refusal, and asks again as a new request', async () => {
    await using at = await aWorker(['a'], { waitMs: 50 });
    await at.told('taken a');
    at.runs.fault = (call) => (call === 'take' ? problem(404, 'queue_not_found') : undefined);
    await at.desk.end('a');
    await until(() => at.events.filter((event) => event === 'refused take').length >= 2, { what: 'two refusals' });
    at.runs.fault = () => undefined;
    at.runs.give('b');
    await at.told('taken b');
    const ids = at.runs.calls.take.map(({ body }) => body?.['request_id']);
    expect(new Set(ids).size).toBe(ids.length);
  });

  testUnstalled('does not spin on empty answers that come at once, and goes on at once after work', async () => {
    await using at = await aWorker([], { waitMs: 0 });
    await sleep(1000);
    // 0.1, 0.2, 0.4 … with jitter: never fewer than a tenth.
    expect(at.runs.calls.take.length).toBeGreaterThan(2);
    expect(at.runs.calls.take.length).toBeLessThan(20);
    const ids = ['a', 'b', 'c', 'd', 'e', 'f'];
    at.runs.give(...ids);
    await at.told('taken a');
    const endedAtMs = performance.now();
    for (const id of ids) await at.desk.end(id);
    await at.told('ended f');
    // The pause that it had come to is half a second on average, and it takes five times.
    expect(performance.now() - endedAtMs).toBeLessThan(1000);
  });

  testUnstalled(
    'repeats a take whose answer was lost as the same request: nothing granted is left behind',
    async () => {
      await using at = await aWorker(['a', 'b', 'c'], { concurrency: 2, waitMs: 5000 });
      at.runs.fault = (call, number) => (call === 'take' && number <= 3 ? 'lost answer' : undefined);
      await at.told('taken a', 'taken b');
      const ids = at.runs.calls.take.map(({ body }) => body?.['request_id']);
      expect(new Set(ids).size).toBe(1);
      expect(at.runs.waiting).toHaveLength(1);
      expect([...at.runs.held.values()].map((run) => run['claim_id'])).toEqual(at.desk.atWork);
    },
  );

  testUnstalled('gives a run back, not begun, when most of its lease is over before its grant is known', async () => {
    await using at = await aWorker([]);
    at.runs.put({ claim_id: 'a', ttl_remaining_ms: 300 });
    await at.told('taken a', 'retried a');
    expect(at.desk.atWork).toEqual([]);
    expect(at.runs.released).toMatchObject([{ claim_id: 'a', outcome: 'retry', retry_after_ms: 0, uncounted: true }]);
  });

  testUnstalled('begins no run that was cancelled before its grant was known', async () => {
    await using at = await aWorker([]);
    at.runs.put({ claim_id: 'a', release_requested: true });
    await at.told('taken a', 'ended a');
    expect(at.desk.atWork).toEqual([]);
    expect(at.runs.released.map(({ outcome, error }) => [outcome, error])).toEqual([['cancelled', undefined]]);
  });
});
