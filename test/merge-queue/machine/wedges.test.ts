import { describe, expect, it } from 'vitest';
import { Twins } from '../support/twins.ts';

const hourMs = 3_600_000;

function held(count: number, settings: ConstructorParameters<typeof Twins>[0] = {}): Twins {
  const twins = new Twins({ expected_count: count, ...settings });
  for (let priority = 1; priority <= count; priority++) twins.acquire(String(priority), priority);
  expect(twins.show().theirs).toMatchObject({ acquired: { headSha: String(count), status: 'acquired' } });
  return twins;
}

const refused = { refused: 409, because: 'lease already acquired' };

/** For ten days a newcomer asks every hour, and the reaper comes when it is due. */
function newcomerForDays(twins: Twins, alsoAsk?: () => void): { theirs: object[]; ours: object[] } {
  const theirs: object[] = [];
  const ours: object[] = [];
  for (let hour = 0; hour < 240; hour++) {
    const until = twins.queue.nowMs + hourMs;
    for (let due = twins.queue.dueAtMs; due !== null && due <= until; due = twins.queue.dueAtMs) {
      twins.queue.nowMs = Math.max(due, twins.queue.nowMs);
      twins.queue.tick();
    }
    twins.queue.nowMs = until;
    alsoAsk?.();
    const told = twins.acquire('newcomer', 9);
    theirs.push(told.theirs);
    ours.push(told.ours);
  }
  return { theirs, ours };
}

function expectTheyAreStuckAndWeAreNot({ theirs, ours }: { theirs: object[]; ours: object[] }): void {
  expect(theirs).toEqual(theirs.map(() => refused));
  expect(ours.slice(0, 3)).toContainEqual(
    expect.objectContaining({ headSha: 'newcomer', status: expect.stringMatching(/pending|acquired/) as string }),
  );
  expect(ours).not.toContainEqual(refused);
}

describe('the wedges of the original (section 11): it is stuck for ever, and we go on', () => {
  it('W1: the holder dies; its losers poll in vain there, and here they inherit when it was not heard for long', () => {
    const twins = held(3);
    const words = { theirs: new Set<unknown>(), ours: new Set<unknown>() };
    for (let minute = 0; minute < 24 * 60; minute++) {
      twins.pass(60_000);
      for (const sha of ['1', '2']) {
        const told = twins.acquire(sha, Number(sha));
        words.theirs.add((told.theirs as { status?: string }).status);
        words.ours.add(`${sha} ${(told.ours as { status?: string }).status}`);
      }
    }
    expect([...words.theirs]).toEqual(['pending']);
    expect([...words.ours]).toContain('2 acquired');
    expect([...words.ours]).not.toContain('1 completed');
  });

  it('W1: the holder dies and nobody is left; newcomers get in here', () => {
    expectTheyAreStuckAndWeAreNot(newcomerForDays(held(1)));
  });

  it('W2: the holder that lost its answer is refused there, and here gets its lease again by its request id', () => {
    const twins = new Twins({ expected_count: 1 });
    twins.queue.acquire('1', { requestId: 'run 1' });
    twins.reference.acquire({ headSha: '1', headRef: 'gh-readonly-queue/main/pr-1-a', priority: 1 }, twins.queue.nowMs);
    expect(twins.acquire('1', 1)).toMatchObject({ theirs: { refused: 409 }, ours: { refused: 409 } });
    expect(twins.queue.ask('1', { requestId: 'run 1' })).toMatchObject({
      request: { status: 'acquired' },
      grant: { fencingToken: 1 },
    });
  });

  it('W3: a loser dies after the success, the others were told', () => {
    const twins = held(3);
    twins.release('3', 'success', 3);
    expect(twins.acquire('1', 1)).toMatchObject({ theirs: { status: 'completed' }, ours: { status: 'completed' } });
    expectTheyAreStuckAndWeAreNot(newcomerForDays(twins));
  });

  it('W4: the last loser polls later than the ttl after the success', () => {
    const twins = held(2);
    twins.release('2', 'success', 2);
    twins.pass(200_001);
    expect(twins.acquire('1', 1)).toMatchObject({ theirs: { status: 'completed' }, ours: { status: 'completed' } });
    expectTheyAreStuckAndWeAreNot(newcomerForDays(twins));
  });

  it('W5: all heirs die after a failure', () => {
    const twins = held(3);
    twins.release('3', 'failure', 3);
    expectTheyAreStuckAndWeAreNot(newcomerForDays(twins));
  });

  it('W3 to W5 heal without the reaper too: by the call of a newcomer', () => {
    for (const outcome of ['success', 'failure'] as const) {
      const twins = held(3);
      twins.release('3', outcome, 3);
      twins.pass(200_001);
      expect(twins.acquire('newcomer', 9)).toMatchObject({ theirs: refused, ours: { status: 'pending' } });
    }
  });

  it('W3: the loser that was silent and comes back later is told that it is completed', () => {
    const twins = held(2);
    twins.release('2', 'success', 2);
    twins.pass(200_001);
    twins.queue.tick();
    expect(twins.acquire('newcomer', 9).ours).toMatchObject({ status: 'pending' });
    twins.pass(23 * hourMs);
    expect(twins.acquire('1', 1).ours).toMatchObject({ status: 'completed' });
    expect(twins.acquire('1', 1).ours).toMatchObject({ status: 'pending' });
  });
});
