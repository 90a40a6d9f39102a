import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { SignalboxClient, Worker } from '../../src/client/index.ts';
import { stressService } from '../support/stress-service.ts';
import { until } from '../support/until.ts';
import { problem } from './scripted-service.ts';
import { aWorker, untilAborted } from './worker/a-worker.ts';

const client = new SignalboxClient({ url: 'http://127.0.0.1:9' });
const handler = () => undefined;

describe('a worker', () => {
  it('is refused without work to take, without a handler, and with numbers that cannot be', async () => {
    for (const options of [{}, { queue: 'q', prefix: 'q' }, { queue: 'q', handler: undefined }]) {
      expect(() => new Worker({ client, handler, ...options } as never)).toThrow(TypeError);
    }
    expect(() => new Worker({ client, handler, queue: 'q', rules: [{ outcome: 'retry' }] } as never)).toThrow(
      TypeError,
    );
    for (const bad of [-1, NaN, Infinity, 0.5]) {
      for (const name of ['concurrency', 'ttlMs', 'waitMs', 'graceMs', 'settleMs']) {
        expect(() => new Worker({ client, handler, queue: 'q', [name]: bad }), `${name} ${bad}`).toThrow(RangeError);
      }
      const worker = new Worker({ client, handler, queue: 'q' });
      await expect(worker.stop({ graceMs: bad })).rejects.toBeInstanceOf(RangeError);
    }
  });

  it('takes from all queues of a prefix: a run that fails keeps none of the others waiting', async () => {
    await using at = await aWorker([], { prefix: 'mail/', ttlMs: 5000, waitMs: 100, holder: 'me' });
    at.runs.put({ queue: 'mail/a', claim_id: 'a' });
    at.runs.put({ queue: 'mail/b', claim_id: 'b' });
    await at.desk.fail('a', new Error('no'));
    await at.desk.end('b');
    await at.told('retried a', 'ended b');
    const [first] = at.runs.calls.take;
    expect(first?.body).toEqual({
      ...{ holder: 'me', prefix: 'mail/', ttl_ms: 5000, wait_ms: 100, max: 1 },
      request_id: first?.body?.['request_id'],
    });
  });

  it('tells a listener that throws to the process, and goes on', async () => {
    const uncaught: unknown[] = [];
    const listeners = process.listeners('uncaughtException');
    process.removeAllListeners('uncaughtException');
    const seen = (error: unknown) => void uncaught.push(error);
    process.on('uncaughtException', seen);
    try {
      await using at = await aWorker([]);
      const mistake = new Error('a mistake of the listener');
      at.worker.on('taken', () => {
        throw mistake;
      });
      at.runs.give('a', 'b');
      await at.desk.end('a');
      await at.desk.end('b');
      await at.told('ended a', 'ended b');
      expect(uncaught).toEqual([mistake, mistake]);
    } finally {
      process.off('uncaughtException', seen);
      for (const listener of listeners) process.on('uncaughtException', listener);
    }
  });
});

/** A busy machine may need longer than these workers' 0.1 s for a call and its repeat. */
const patient = { settleMs: 10_000 };

describe('stopping a worker', () => {
  it('lets handlers finish within the grace, renewed meanwhile, and takes nothing more', async () => {
    await using at = await aWorker(['a', 'b', 'c'], { concurrency: 2 });
    await at.desk.on('b');
    const stopped = at.worker.stop({ graceMs: 10_000 });
    await at.desk.end('b');
    await at.told('ended b');
    await until(() => at.runs.calls.renew.length >= 3, { what: 'renewals while it stops' });
    const { context } = await at.desk.on('a');
    expect(context.signal.aborted).toBe(false);
    expect(at.events).not.toContain('stopped');
    await at.desk.end('a');
    await stopped;
    expect(at.events.at(-1)).toBe('stopped');
    expect(at.events).toContain('ended a');
    expect(at.runs.calls.take).toHaveLength(1);
    expect(at.runs.held.size).toBe(0);
  });

  it('aborts without grace: all stragglers share one deadline, and what they were at is to be taken again at once', async () => {
    await using at = await aWorker(['a', 'b', 'c'], { concurrency: 3, handler: untilAborted });
    await at.told('taken c');
    const startedAtMs = performance.now();
    await at.worker.stop({ graceMs: 200, settleMs: 5000 });
    expect(performance.now() - startedAtMs).toBeGreaterThan(190);
    expect(performance.now() - startedAtMs).toBeLessThan(2000);
    expect(at.runs.released).toMatchObject(
      ['a', 'b', 'c'].map((id) => ({ claim_id: id, outcome: 'retry', retry_after_ms: 0 })),
    );
    expect(at.events.slice(-4).sort()).toEqual(['retried a', 'retried b', 'retried c', 'stopped']);
  });

  it('gives back what a handler that ignores its signal works on, and keeps its place until it ends', async () => {
    await using at = await aWorker(['a', 'b'], { concurrency: 1 });
    const { context } = await at.desk.on('a');
    await at.worker.stop({ graceMs: 0, settleMs: 100 });
    expect(context.signal.reason).toMatchObject({ name: 'WorkerStoppingError' });
    expect(at.runs.released).toMatchObject([{ claim_id: 'a', outcome: 'retry', retry_after_ms: 0 }]);
    expect(at.runs.released[0]).not.toHaveProperty('uncounted');
    expect(at.worker.running).toBe(1);
    await at.worker.start();
    await sleep(100);
    expect(at.runs.waiting).toHaveLength(1);
    await at.desk.end('a');
    await at.told('taken b');
    expect(at.runs.released).toHaveLength(1);
  });

  it('ends what somebody cancelled, though its handler ignores that as well', async () => {
    await using at = await aWorker(['a']);
    const { context } = await at.desk.on('a');
    at.runs.cancelled.add('a');
    await until(() => context.signal.aborted, { what: 'it is told to stop' });
    await at.worker.stop({ graceMs: 0, settleMs: 100 });
    expect(at.runs.released.map(({ outcome }) => outcome)).toEqual(['cancelled']);
    await at.desk.end('a');
  });

  it('shortens the grace when it is told again', async () => {
    await using at = await aWorker(['a'], { handler: untilAborted });
    await at.told('taken a');
    const first = at.worker.stop({ graceMs: 60_000 });
    await Promise.all([first, at.worker.stop({ graceMs: 0 }), at.worker.stop()]);
    expect(at.events).toEqual(['taken a', 'retried a', 'stopped']);
  });

  it('finds what the take that it broke off had granted, and gives it back uncounted', async () => {
    await using at = await aWorker([], { waitMs: 20_000 });
    await until(() => at.runs.calls.take.length === 1, { what: 'a take under way' });
    // As if it had been granted while its client hung up: the repeat is what gets it.
    at.runs.fault = (_call, number) => {
      if (number !== 2) return undefined;
      at.runs.give('a');
      return problem(503, 'not_ready');
    };
    await at.worker.stop(patient);
    expect(at.runs.calls.take.map(({ body }) => body?.['wait_ms'])).toEqual([20_000, 0, 0]);
    expect(new Set(at.runs.calls.take.map(({ body }) => body?.['request_id'])).size).toBe(1);
    expect(at.runs.released).toMatchObject([{ claim_id: 'a', outcome: 'retry', retry_after_ms: 0, uncounted: true }]);
    expect(at.desk.atWork).toEqual([]);
    expect(at.runs.held.size).toBe(0);
  });

  it('gives back all that a take without an answer had granted', async () => {
    await using at = await aWorker([], { concurrency: 3, waitMs: 50 });
    at.runs.fault = (call) => (call === 'take' ? 'lost answer' : undefined);
    at.runs.give('a', 'b', 'c');
    await until(() => at.runs.held.size === 3, { what: 'three runs granted' });
    at.runs.fault = () => undefined;
    await at.worker.stop(patient);
    expect(at.runs.released).toMatchObject(
      ['a', 'b', 'c'].map((id) => ({ claim_id: id, retry_after_ms: 0, uncounted: true })),
    );
    expect(at.desk.atWork).toEqual([]);
  });

  it('meets at most one new run by asking for what its last take had granted', async () => {
    await using at = await aWorker([], { concurrency: 3, waitMs: 20_000 });
    await until(() => at.runs.calls.take.length === 1, { what: 'a take under way' });
    at.runs.fault = (call) => {
      if (call === 'take') at.runs.give('a', 'b', 'c');
      return undefined;
    };
    await at.worker.stop(patient);
    expect(at.runs.released).toMatchObject([{ claim_id: 'a', outcome: 'retry', retry_after_ms: 0, uncounted: true }]);
    expect(at.runs.waiting).toHaveLength(2);
  });

  it('kills no run that no handler has begun, also in its last attempt, with grace and without', async () => {
    for (const graceMs of [0, 10_000]) {
      await using at = await aWorker([], { waitMs: 20_000 });
      await until(() => at.runs.calls.take.length === 1, { what: 'a take under way' });
      const stopped = at.worker.stop({ ...patient, graceMs });
      at.runs.put({ claim_id: 'a', attempt: 1, max_attempts: 1 });
      await stopped;
      expect(at.events).toEqual(['taken a', 'retried a', 'stopped']);
      expect(at.runs.released).toMatchObject([{ claim_id: 'a', retry_after_ms: 0, uncounted: true }]);
      expect(at.desk.atWork).toEqual([]);
    }
  });

  it('counts the last attempt that a handler had begun', async () => {
    await using at = await aWorker([], { handler: untilAborted });
    at.runs.put({ claim_id: 'a', attempt: 1, max_attempts: 1 });
    await at.told('taken a');
    await at.worker.stop({ graceMs: 0 });
    expect(at.events).toEqual(['taken a', 'failed a', 'stopped']);
    expect(at.runs.released[0]).not.toHaveProperty('uncounted');
    expect(at.runs.released).toMatchObject([{ error: 'the worker stopped before the handler was done' }]);
  });

  it('ends in a bounded time when the service is gone', async () => {
    await using at = await aWorker(['a'], { handler: untilAborted, concurrency: 2, waitMs: 5000 });
    await at.told('taken a');
    await until(() => at.runs.calls.take.length === 2, { what: 'a take under way' });
    at.runs.fault = () => 'hang up';
    const startedAtMs = performance.now();
    await at.worker.stop({ graceMs: 0, settleMs: 300 });
    // Twice 0.3 s, not the 5 s that its take would wait.
    expect(performance.now() - startedAtMs).toBeLessThan(2500);
    expect(at.events.slice(-2)).toEqual(['lost a not_reported', 'stopped']);
  });

  it('starts and stops over and over, in any order', async () => {
    await using at = await aWorker([], { waitMs: 20_000 });
    await stressService(at.worker);
    expect(at.worker.running).toBe(0);
    expect(at.runs.held.size).toBe(0);
    await at.worker.start();
    at.runs.give('a');
    await at.desk.end('a');
    await at.told('ended a');
  });
});
