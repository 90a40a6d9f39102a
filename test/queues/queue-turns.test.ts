import { describe, expect, it } from 'vitest';
import { QueueTurns } from '../../src/queues/queue-turns.ts';

const never = () => false;
const always = () => true;

/** What has gone on so far, in order. */
function watched(turns: QueueTurns) {
  const gone: string[] = [];
  return {
    gone,
    wait: (name: string, asks: boolean) => {
      void (turns.wait('q', asks) ?? Promise.resolve()).then(() => gone.push(name));
    },
  };
}

describe('the turns of a queue', () => {
  it('hold back nothing while no call is about it', () => {
    const turns = new QueueTurns();
    expect(turns.take('other')).toBe(true);
    expect(turns.wait('q', true)).toBeUndefined();
  });

  it('go to one call at a time', () => {
    const turns = new QueueTurns();
    expect(turns.take('q')).toBe(true);
    expect(turns.take('q')).toBe(false);
    turns.giveBack(['q'], never);
    expect(turns.take('q')).toBe(true);
  });

  it('let all that waited go on together, in the order it came', async () => {
    const turns = new QueueTurns();
    const { gone, wait } = watched(turns);
    turns.take('q');
    wait('acquire', true);
    wait('release', false);
    wait('another', true);
    expect(turns.waiting).toBe(3);
    await Promise.resolve();
    expect(gone).toEqual([]);
    turns.giveBack(['q'], always);
    await Promise.resolve();
    expect(gone).toEqual(['acquire', 'release', 'another']);
    expect(turns.waiting).toBe(0);
  });

  it('keep acquires for the release of who has just got the place, and both go on together', async () => {
    const turns = new QueueTurns();
    const { gone, wait } = watched(turns);
    turns.take('q');
    wait('acquire', true);
    turns.giveBack(['q'], always);
    wait('another', true);
    await Promise.resolve();
    expect(gone).toEqual([]);
    wait('release', false);
    await Promise.resolve();
    expect(gone.toSorted()).toEqual(['acquire', 'another', 'release']);
  });

  it('keep acquires a moment only, and not where nobody has got the place', async () => {
    const turns = new QueueTurns();
    turns.take('q');
    const kept = turns.wait('q', true);
    turns.giveBack(['q'], always);
    await kept;
    turns.take('q');
    const { gone, wait } = watched(turns);
    wait('acquire', true);
    turns.giveBack(['q'], never);
    await Promise.resolve();
    expect(gone).toEqual(['acquire']);
    expect(turns.take('q')).toBe(true);
  });
});
