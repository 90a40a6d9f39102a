import { describe, expect, it } from 'vitest';
import { Batcher, type BatcherOptions } from '../../src/queues/batcher.ts';
import { systemClock } from '../../src/runtime/clock.ts';

/** A batcher whose batches are answered when the test says so; by default each item is its own answer. */
function recordedBatcher(options: Partial<BatcherOptions<string, string>> = {}) {
  const batches: { items: readonly string[]; answer: (results?: readonly (string | Promise<string>)[]) => void }[] = [];
  const batcher = new Batcher<string, string>({
    clock: systemClock,
    batchMax: 3,
    inFlightMax: 1,
    pendingMax: 100,
    run: (items) =>
      new Promise((resolve) => {
        batches.push({ items, answer: (results = items) => resolve(results) });
      }),
    ...options,
  });
  return { batcher, batches, sizes: () => batches.map(({ items }) => items.length) };
}
const turn = () => new Promise((resolve) => setImmediate(resolve));

describe('batches', () => {
  it('what arrives in one turn goes out as one, in order, and each gets its own answer', async () => {
    const { batcher, batches } = recordedBatcher();
    const answers = Promise.all(['a', 'b', 'c'].map((item) => batcher.submit(item)));
    await turn();
    expect(batches.map(({ items }) => items)).toEqual([['a', 'b', 'c']]);
    batches[0]?.answer(['A', 'B', 'C']);
    expect(await answers).toEqual(['A', 'B', 'C']);
  });

  it('hold at most batchMax items, and at most inFlightMax are on their way', async () => {
    const { batcher, batches, sizes } = recordedBatcher({ inFlightMax: 2 });
    const answers = Promise.all(Array.from('abcdefgh').map((item) => batcher.submit(item)));
    await turn();
    expect(sizes()).toEqual([3, 3]);
    expect(batcher.pending).toBe(2);
    for (const { answer } of batches) answer();
    await turn();
    await turn();
    expect(sizes()).toEqual([3, 3, 2]);
    for (const { answer } of batches) answer();
    expect(await answers).toEqual(Array.from('abcdefgh'));
  });

  it('go out beside one in flight when they are no smaller', async () => {
    const { batcher, batches, sizes } = recordedBatcher({ inFlightMax: 2 });
    const answers = [batcher.submit('a'), batcher.submit('b')];
    await turn();
    answers.push(batcher.submit('c'));
    await turn();
    expect(sizes()).toEqual([2]);
    answers.push(batcher.submit('d'));
    await turn();
    expect(sizes()).toEqual([2, 2]);
    for (const { answer } of batches) answer();
    expect(await Promise.all(answers)).toEqual(Array.from('abcd'));
  });

  it('that are smaller go out all the same when the one in flight is slow', async () => {
    const sent = Promise.withResolvers<readonly string[]>();
    const { batcher, batches } = recordedBatcher({
      inFlightMax: 2,
      onBatch: (size) => {
        if (size === 1) sent.resolve(['c']);
      },
    });
    const slow = [batcher.submit('a'), batcher.submit('b')];
    await turn();
    const late = batcher.submit('c');
    await sent.promise;
    batches[1]?.answer();
    expect(await late).toBe('c');
    batches[0]?.answer();
    expect(await Promise.all(slow)).toEqual(['a', 'b']);
  });

  it('leave out what has waited too long: it is told overloaded, and not done', async () => {
    let nowMs = 0;
    const clock = { ...systemClock, monotonicMs: () => nowMs };
    const { batcher, batches } = recordedBatcher({ clock, waitMaxMs: 1000 });
    const first = batcher.submit('a');
    await turn();
    const old = batcher.submit('b');
    nowMs = 500;
    const young = batcher.submit('c');
    nowMs = 1001;
    batches[0]?.answer();
    await expect(old).rejects.toMatchObject({ code: 'overloaded', retryAfterMs: 1000 });
    await turn();
    expect(batches.map(({ items }) => items)).toEqual([['a'], ['c']]);
    batches[1]?.answer();
    expect(await Promise.all([first, young])).toEqual(['a', 'c']);
  });

  it('that hang hold nobody beyond waitMaxMs: who was not sent is told overloaded', async () => {
    const { batcher, batches } = recordedBatcher({ waitMaxMs: 50 });
    const hanging = batcher.submit('a');
    await turn();
    const waiting = ['b', 'c'].map((item) => batcher.submit(item));
    for (const item of waiting) await expect(item).rejects.toMatchObject({ code: 'overloaded' });
    expect(batcher.pending).toBe(0);
    batches[0]?.answer();
    expect(await hanging).toBe('a');
    const later = batcher.submit('d');
    await turn();
    batches[1]?.answer();
    expect(await later).toBe('d');
  });

  it('gather what arrives while one is in flight', async () => {
    const { batcher, batches, sizes } = recordedBatcher();
    const first = batcher.submit('a');
    await turn();
    const later = [batcher.submit('b')];
    await turn();
    later.push(batcher.submit('c'));
    await turn();
    expect(sizes()).toEqual([1]);
    batches[0]?.answer();
    await first;
    await turn();
    await turn();
    expect(sizes()).toEqual([1, 2]);
    batches[1]?.answer();
    expect(await Promise.all(later)).toEqual(['b', 'c']);
  });

  it('tell their size and when they were sent', async () => {
    const told: number[] = [];
    let sentAtMs = 0;
    const { batcher } = recordedBatcher({
      onBatch: (size) => told.push(size),
      run: async (items, atMs) => {
        sentAtMs = atMs;
        return items;
      },
    });
    const beforeMs = systemClock.monotonicMs();
    await Promise.all([batcher.submit('a'), batcher.submit('b')]);
    expect(told).toEqual([2]);
    expect(sentAtMs).toBeGreaterThanOrEqual(beforeMs);
  });
});

describe('answers', () => {
  it('a promise for one item keeps no other waiting', async () => {
    const { batcher, batches } = recordedBatcher();
    const late = Promise.withResolvers<string>();
    const [a, b] = [batcher.submit('a'), batcher.submit('b')];
    await turn();
    batches[0]?.answer([late.promise, 'B']);
    expect(await b).toBe('B');
    late.resolve('A');
    expect(await a).toBe('A');
  });

  it('one that rejects fails its own item alone', async () => {
    const { batcher } = recordedBatcher({ run: async () => [Promise.reject(new Error('mine')), 'B'] });
    const [a, b] = [batcher.submit('a'), batcher.submit('b')];
    await expect(a).rejects.toThrow('mine');
    expect(await b).toBe('B');
  });

  it('a failed batch fails all its items, and the next one goes out', async () => {
    let round = 0;
    const { batcher } = recordedBatcher({
      run: async (items) => {
        if (round++ === 0) throw new Error('down');
        return items;
      },
    });
    const failed = await Promise.allSettled([batcher.submit('a'), batcher.submit('b')]);
    expect(failed.map(({ status }) => status)).toEqual(['rejected', 'rejected']);
    expect(await batcher.submit('c')).toBe('c');
  });

  it('an item without an answer is a failure, not silence', async () => {
    const { batcher } = recordedBatcher({ run: async () => ['A'] });
    const [a, b] = [batcher.submit('a'), batcher.submit('b')];
    await expect(b).rejects.toThrow('did not answer');
    expect(await a).toBe('A');
  });
});

it('beyond pendingMax items submit refuses as overloaded, having done nothing', async () => {
  const { batcher, batches } = recordedBatcher({ pendingMax: 2 });
  const accepted = [batcher.submit('a'), batcher.submit('b')];
  expect(() => batcher.submit('c')).toThrow(
    expect.objectContaining({ code: 'overloaded', retryAfterMs: 1000 }) as Error,
  );
  await turn();
  batches[0]?.answer();
  expect(await Promise.all(accepted)).toEqual(['a', 'b']);
  expect(batcher.pending).toBe(0);
});
