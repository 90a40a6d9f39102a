import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { GateBench, kill, type OpenGate } from '../support/kubernetes-api/gate-bench.ts';
import { oneService } from '../support/kubernetes-api/one-service.ts';
import type { Fault } from '../support/kubernetes-api/server.ts';
import type { TestApp } from '../support/test-app.ts';
import { until } from '../support/until.ts';

let replica: TestApp;
oneService((service) => (replica = service));

const rules = { queuePrefix: '', ttlMs: 2000 };
const names = (count: number) => Array.from({ length: count }, (_, n) => `r${String(n).padStart(2, '0')}`);

/** Every run went exactly once. */
function expectEachOnce(bench: GateBench, count: number): void {
  expect(new Set(bench.tekton.intervals.map(({ uid }) => uid)).size).toBe(count);
  expect(bench.tekton.intervals).toHaveLength(count);
}

describe.concurrent('two gates at once', () => {
  it.each([1, 3])('M10, L1, P12: limit %i: twelve runs go once each, never too many, in their order', async (limit) => {
    await using bench = await GateBench.start(replica.url, { runMs: 20 });
    await replica.client.put(bench.queue, { concurrency_limit: limit });
    bench.runs(...names(12));
    await Promise.all([bench.gate({ token: 'one' }), bench.gate({ token: 'two' })]);
    await bench.untilFinished(12);
    expectEachOnce(bench, 12);
    expect(bench.tekton.peak()).toBeLessThanOrEqual(limit);
    if (limit === 1) expect(bench.tekton.started).toEqual(names(12));
    // What both saw is one event.
    await until(() => bench.api.reasonsOf('r11').includes('Released'), { what: 'all is told' });
    const told = bench.api.reasonsOf('r11');
    expect(new Set(told).size).toBe(told.length);
  });

  it('the other one goes on when one dies: same claim, same token, nothing lost', async () => {
    await using bench = await GateBench.start(replica.url);
    bench.runs('a', 'b');
    const one = await bench.gate({ token: 'one', rules });
    await bench.untilNoted('b', 'decision', 'waiting');
    const token = bench.note('a', 'fencing-token');
    await bench.gate({ token: 'two', rules });
    await sleep(300);
    kill(one);
    await sleep(2500);
    expect(bench.note('a', 'fencing-token')).toBe(token);
    expect(bench.api.reasonsOf('a')).toEqual(['Started']);
    bench.tekton.finish('a');
    await bench.untilGoing('b');
    expect(bench.tekton.peak()).toBe(1);
  });
});

describe.concurrent('a gate that comes after another', () => {
  it('a stopping gate releases nothing; the next one takes its leases over in time', async () => {
    await using bench = await GateBench.start(replica.url);
    bench.runs('a', 'b');
    const one = await bench.gate({ rules: { ...rules, ttlMs: 4000 } });
    await bench.untilNoted('b', 'decision', 'waiting');
    await one.stop();
    expect((await replica.client.queue(bench.queue)).body).toMatchObject({ held: 1, waiting: 1 });
    await bench.gate({ rules: { ...rules, ttlMs: 4000 } });
    await sleep(4300);
    expect(bench.api.reasonsOf('a')).toEqual(['Started']);
    bench.tekton.finish('a');
    await bench.untilGoing('b');
    expect(bench.tekton.peak()).toBe(1);
  });

  it('P75, M8, M14, M15: after no gate for longer than every lease: what goes is counted first, then the line moves on', async () => {
    await using bench = await GateBench.start(replica.url);
    await replica.client.put(bench.queue, { waiting_ttl_ms: 1000 });
    bench.runs('a', 'b', 'c');
    const one = await bench.gate({ rules });
    await bench.untilNoted('c', 'decision', 'waiting');
    kill(one);
    await until(async () => (await replica.client.queue(bench.queue)).body.waiting === 0, {
      what: 'the line is empty',
    });
    await sleep(2200);
    bench.api.runs.create({
      name: '0-poison',
      specStatus: 'PipelineRunPending',
      annotations: { 'signalbox.dev/claim': '/' },
    });
    bench.runs('d');
    await bench.gate({ rules });
    await bench.untilNoted('d', 'position', '3', 15_000);
    expect(bench.tekton.going).toEqual(['a']);
    for (const [name, next] of [
      ['a', 'b'],
      ['b', 'c'],
      ['c', 'd'],
    ] as const) {
      bench.tekton.finish(name);
      await bench.untilGoing(next);
    }
    expect(bench.tekton.peak()).toBe(1);
  });

  it('a place of a run that ended while no gate was there is given back when one comes, without waiting for its end', async () => {
    await using bench = await GateBench.start(replica.url);
    bench.runs('a', 'b');
    const one = await bench.gate({ rules: { ...rules, ttlMs: 60_000 } });
    await bench.untilNoted('b', 'decision', 'waiting');
    kill(one);
    bench.tekton.finish('a');
    await bench.gate({ rules: { ...rules, ttlMs: 60_000 } });
    await bench.untilGoing('b');
  });
});

/** A small generator of numbers below 1 (mulberry32), so that a failure can be had again by its seed. */
function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

describe.concurrent('gates killed at any step', () => {
  it.each([1, 2, 3, 4, 5, 6, 7, 8])(
    'seed %i: every run goes once, never too many at a time, and all places are given back',
    { timeout: 50_000 },
    async (seed) => {
      const chance = random(seed);
      const limit = 1 + (seed % 2);
      await using bench = await GateBench.start(replica.url, { runMs: 60 });
      await replica.client.put(bench.queue, { concurrency_limit: limit });
      bench.runs(...names(6));
      const gates = new Map<string, OpenGate>();
      let [opened, killsLeft] = [0, 8];
      let isOver = false;
      const open = async () => {
        if (isOver) return;
        const token = `gate-${opened++}`;
        gates.set(token, await bench.gate({ token, rules }));
      };
      const faults: readonly (Fault | undefined)[] = [
        undefined,
        'lost answer',
        'lost request',
        { doneAfterMs: 120 },
        { status: 500 },
      ];
      bench.api.fault = ({ token, verb }) => {
        const gate = gates.get(token);
        if (verb === 'watch' || verb === 'list' || gate === undefined) return undefined;
        // A dead gate's requests are not sent any more, or are under way: whatever becomes of them.
        const fault = chance() < 0.3 ? faults[Math.floor(chance() * faults.length)] : undefined;
        if (killsLeft > 0 && chance() < 0.25) {
          killsLeft -= 1;
          gates.delete(token);
          const act = () => {
            kill(gate);
            setTimeout(() => void open(), chance() < 0.2 ? 2500 : chance() * 150);
          };
          // In the middle of the request, or some moments later: between two.
          if (chance() < 0.5) act();
          else setTimeout(act, chance() * 15);
        }
        return fault;
      };
      await open();
      if (seed % 3 === 0) await open();
      try {
        await bench.untilFinished(6, 40_000);
        expect(bench.tekton.peak()).toBeLessThanOrEqual(limit);
        expectEachOnce(bench, 6);
        await until(
          async () => {
            const { held, waiting } = (await replica.client.queue(bench.queue)).body;
            return held + waiting === 0;
          },
          { what: 'the queue is empty', timeoutMs: 15_000 },
        );
      } finally {
        isOver = true;
      }
    },
  );
});
