import { describe, expect, it } from 'vitest';
import { changeOf } from '../../../src/merge-queue/stored-state.ts';
import { MachineUnderTest, refOf, someMergeQueue, throughStorage } from '../support/machine-under-test.ts';

/** Priorities 1, 2 and 3 arrive in the order 1, 3, 2; count 3: the last to come completes the count, 3 has the lease. */
function threeBuilds(): MachineUnderTest {
  const queue = new MachineUnderTest({ expected_count: 3, stabilisation_ms: 60_000 });
  expect(queue.acquire('1', { priority: 1 })).toBe('pending');
  expect(queue.acquire('3', { priority: 3 })).toBe('pending');
  expect(queue.acquire('2', { priority: 2 })).toBe('pending');
  expect([queue.acquire('1'), queue.acquire('2'), queue.acquire('3')]).toEqual(['pending', 'pending', 'acquired']);
  return queue;
}

function heldByTwo(): MachineUnderTest {
  const queue = new MachineUnderTest({ expected_count: 2 });
  queue.acquire('1', { priority: 1 });
  expect(queue.acquire('2', { priority: 2 })).toBe('acquired');
  return queue;
}

describe('what the unit tests of the original say (section 8)', () => {
  it('U1: a new queue has its settings, nothing known, nothing held, and its window begins now', () => {
    const queue = new MachineUnderTest({ expected_count: 7 });
    const { acquired, known, lastUpdatedAtMs, settings } = queue.show();
    expect({ acquired, known, lastUpdatedAtMs }).toEqual({
      acquired: null,
      known: [],
      lastUpdatedAtMs: queue.nowMs,
    });
    expect(settings.expected_count).toBe(7);
  });

  it('U2: what was stored of two builds, one acquired, is read as the same state, the holder among the known', () => {
    const queue = heldByTwo();
    const read = throughStorage(queue.state, queue.settings);
    expect(read).toEqual(queue.state);
    queue.state = read;
    expect(queue.known).toEqual(['1', '2']);
    expect(queue.show().acquired?.request.headSha).toBe('2');
  });

  it('U3: a state is stored as the rows it was read from', () => {
    const queue = heldByTwo();
    const stored = (state: MachineUnderTest['state']) => changeOf(someMergeQueue, state, queue.settings, 1).requests;
    expect(stored(throughStorage(queue.state, queue.settings))).toEqual(stored(queue.state));
    expect(stored(queue.state).map(({ head_sha, status, is_known }) => ({ head_sha, status, is_known }))).toEqual([
      { head_sha: '1', status: 'pending', is_known: true },
      { head_sha: '2', status: 'acquired', is_known: true },
    ]);
  });

  it('U4: a build that was never seen is last seen now', () => {
    const queue = new MachineUnderTest();
    queue.acquire('1');
    expect(queue.state.pending[0]?.lastSeenAtMs).toBe(queue.nowMs);
  });

  it('U5: last seen moves with each poll', () => {
    const queue = new MachineUnderTest();
    queue.acquire('1');
    queue.pass(1000);
    queue.acquire('1');
    expect(queue.state.pending[0]?.lastSeenAtMs).toBe(queue.nowMs);
  });

  it('U6: two builds are known, and the second priority of the first replaces its first', () => {
    const queue = new MachineUnderTest();
    queue.acquire('a', { priority: 1 });
    queue.acquire('b', { priority: 2 });
    queue.acquire('a', { priority: 3 });
    expect(queue.show().known.map(({ request: { headSha, priority } }) => [headSha, priority])).toEqual([
      ['b', 2],
      ['a', 3],
    ]);
  });

  it('U7: a new build cannot arrive with an outcome', () => {
    const queue = new MachineUnderTest();
    for (const outcome of ['success', 'failure', 'cancelled'] as const)
      expect(queue.release('new', outcome)).toBe('nothing_held');
    const held = heldByTwo();
    for (const outcome of ['success', 'failure', 'cancelled'] as const)
      expect(held.release('new', outcome)).toBe('not_the_holder');
    expect([queue.known, held.known]).toEqual([[], ['1', '2']]);
  });

  it('U8: a holder may report failure or success, and may say again that it holds', () => {
    expect(heldByTwo().release('2', 'failure')).toBe('failure');
    expect(heldByTwo().release('2', 'success')).toBe('completed');
    const queue = heldByTwo();
    expect(queue.acquire('2', { fencingToken: queue.newestToken })).toBe('acquired');
  });

  it('U9: who is pending, completed or failed can report nothing but what it reported', () => {
    const pending = heldByTwo();
    expect([pending.release('1', 'success'), pending.release('1', 'failure')]).toEqual([
      'not_the_holder',
      'not_the_holder',
    ]);
    const completed = heldByTwo();
    completed.release('2', 'success');
    expect([completed.release('2', 'failure'), completed.acquire('2')]).toEqual(['status_mismatch', 'status_mismatch']);
    const failed = heldByTwo();
    failed.release('2', 'failure');
    expect([failed.release('2', 'success'), failed.acquire('2')]).toEqual(['lease_taken', 'lease_taken']);
    expect(completed.release('2', 'success', { fencingToken: completed.newestToken })).toBe('completed');
    expect(failed.release('2', 'failure', { fencingToken: failed.newestToken })).toBe('failure');
  });

  it('U10: of two builds the one that was last seen long ago goes', () => {
    const queue = new MachineUnderTest();
    queue.acquire('old', { priority: 1 });
    queue.pass(queue.settings.ttl_ms + 1);
    queue.acquire('new', { priority: 1 });
    expect(queue.known).toEqual(['new']);
  });

  it('U11: a holder that was last seen long ago stays', () => {
    const queue = heldByTwo();
    queue.pass(queue.settings.ttl_ms + 1);
    expect(queue.acquire('1')).toBe('pending');
    expect(queue.known).toEqual(['1', '2']);
  });

  it('U12: the highest is pending while the window runs, and acquires when it is over', () => {
    const queue = new MachineUnderTest({ expected_count: 4, stabilisation_ms: 60_000 });
    queue.acquire('1', { priority: 1 });
    expect(queue.acquire('2', { priority: 2 })).toBe('pending');
    queue.pass(120_000);
    expect(queue.acquire('2')).toBe('acquired');
  });

  it('U13: a third build that completes the count lets the highest acquire on its own poll', () => {
    const queue = new MachineUnderTest({ expected_count: 3, stabilisation_ms: 60_000 });
    queue.acquire('low', { priority: 1 });
    expect(queue.acquire('high', { priority: 1000 })).toBe('pending');
    expect(queue.acquire('middle', { priority: 100 })).toBe('pending');
    expect(queue.acquire('high')).toBe('acquired');
  });

  it('U14: while somebody holds, a poll of another changes nothing but when it was seen', () => {
    const queue = heldByTwo();
    const { grant, windowStartedAtMs } = queue.state;
    queue.pass(1000);
    expect(queue.acquire('1')).toBe('pending');
    expect(queue.state).toMatchObject({ grant, windowStartedAtMs, pending: [{ lastSeenAtMs: queue.nowMs }] });
  });

  it('U15: a cleared queue is empty here and in storage, and its window begins now', () => {
    const queue = heldByTwo();
    queue.pass(1000);
    queue.clear();
    const { acquired, known, lastUpdatedAtMs } = queue.show();
    expect({ acquired, known, lastUpdatedAtMs }).toEqual({ acquired: null, known: [], lastUpdatedAtMs: queue.nowMs });
    expect(changeOf(someMergeQueue, queue.state, queue.settings, 1).requests).toEqual([]);
  });

  it('U16: success is handed to all, and newcomers stay out until the last is told', () => {
    const queue = threeBuilds();
    expect(queue.acquire('new', { priority: 4 })).toBe('lease_taken');
    expect(queue.release('3', 'success')).toBe('completed');
    expect(queue.acquire('1')).toBe('completed');
    expect(queue.acquire('new')).toBe('lease_taken');
    expect(queue.acquire('2')).toBe('completed');
    expect(queue.acquire('new')).toBe('pending');
  });

  it('U17: after a failure the next highest acquires', () => {
    const queue = threeBuilds();
    expect(queue.release('3', 'failure')).toBe('failure');
    expect(queue.acquire('1')).toBe('pending');
    queue.pass(120_000);
    expect(queue.acquire('2')).toBe('acquired');
  });

  it('U18: after a failure newcomers stay out, and the next highest acquires without any wait', () => {
    const queue = threeBuilds();
    expect(queue.release('3', 'failure')).toBe('failure');
    expect(queue.acquire('1')).toBe('pending');
    expect(queue.acquire('new', { priority: 4 })).toBe('lease_taken');
    expect(queue.acquire('2')).toBe('acquired');
  });

  it('U19: nothing can be released while nothing is held', () => {
    const queue = new MachineUnderTest();
    queue.acquire('1', { priority: 1, headRef: refOf(1) });
    queue.acquire('2', { priority: 2, headRef: refOf(2) });
    expect([queue.release('1', 'success'), queue.release('2', 'failure')]).toEqual(['nothing_held', 'nothing_held']);
  });

  it('U20: an unknown sha cannot release what another holds', () => {
    expect(heldByTwo().release('unknown', 'success')).toBe('not_the_holder');
  });

  it('U21: with a delay of 2 the highest acquires on its third eligible poll', () => {
    const queue = new MachineUnderTest({ expected_count: 2, delay_count: 2 });
    queue.acquire('1', { priority: 1 });
    expect([queue.acquire('2', { priority: 2 }), queue.acquire('2'), queue.acquire('2')]).toEqual([
      'pending',
      'pending',
      'acquired',
    ]);
  });
});
