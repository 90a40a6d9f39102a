import { describe, expect, it } from 'vitest';
import { MachineUnderTest, refOf } from '../support/machine-under-test.ts';

const shas = ['1', '2', '3', '4'];

/** Builds named after their priorities, the highest of them the holder. */
function heldByHighest(settings: ConstructorParameters<typeof MachineUnderTest>[0] = {}, count = 3): MachineUnderTest {
  const queue = new MachineUnderTest({ expected_count: count, ...settings });
  for (const sha of shas.slice(0, count)) queue.acquire(sha, { priority: Number(sha) });
  expect(queue.state.grant?.headSha).toBe(String(count));
  return queue;
}

describe('what a re-implementer would get wrong (section 10)', () => {
  it('1: the window runs anew for a newcomer, a changed priority, a changed ref and a release', () => {
    const queue = new MachineUnderTest({ expected_count: 3 });
    const windowAgeAfter = (call: () => unknown) => {
      queue.pass(1000);
      call();
      return queue.windowAgeMs;
    };
    expect(windowAgeAfter(() => queue.acquire('1', { priority: 1 }))).toBe(0);
    expect(windowAgeAfter(() => queue.acquire('2', { priority: 1 }))).toBe(0);
    expect(windowAgeAfter(() => queue.acquire('2', { priority: 2 }))).toBe(0);
    expect(windowAgeAfter(() => queue.acquire('2', { headRef: refOf(9) }))).toBe(0);
    queue.acquire('3', { priority: 3 });
    expect(windowAgeAfter(() => queue.release('3', 'failure'))).toBe(0);
  });

  it('1: the window does not run anew for a plain poll, an eviction, a grant, or a refused call', () => {
    const queue = new MachineUnderTest({ expected_count: 9, stabilisation_ms: 300_000 });
    queue.acquire('1', { priority: 1 });
    queue.acquire('2', { priority: 2 });
    queue.pass(150_000);
    queue.acquire('2');
    expect(queue.windowAgeMs).toBe(150_000);
    queue.pass(100_000);
    queue.acquire('2');
    expect([queue.known, queue.windowAgeMs]).toEqual([['2'], 250_000]);
    queue.pass(50_000);
    expect(queue.acquire('2')).toBe('acquired');
    expect(queue.windowAgeMs).toBe(300_000);
    expect([queue.acquire('2', { priority: 5 }), queue.acquire('new'), queue.release('new', 'success')]).toEqual([
      'status_mismatch',
      'lease_taken',
      'not_the_holder',
    ]);
    expect(queue.windowAgeMs).toBe(300_000);
  });

  it('2: the lease is given on the poll of a highest build only: not pushed, and not on the poll of another', () => {
    const queue = new MachineUnderTest({ expected_count: 2 });
    queue.acquire('2', { priority: 2 });
    expect(queue.acquire('1', { priority: 1 })).toBe('pending');
    queue.pass(60_000);
    queue.tick();
    expect([queue.acquire('1'), queue.state.grant]).toEqual(['pending', null]);
    expect(queue.acquire('2')).toBe('acquired');
  });

  it('2: among equals the first to poll acquires', () => {
    const queue = new MachineUnderTest({ expected_count: 3 });
    queue.acquire('first', { priority: 2 });
    queue.acquire('second', { priority: 2 });
    queue.acquire('low', { priority: 1 });
    expect([queue.acquire('second'), queue.acquire('first')]).toEqual(['acquired', 'pending']);
  });

  it('3: after a failure neither window nor count applies, and newcomers stay out until all heirs have failed', () => {
    const queue = heldByHighest({ stabilisation_ms: 604_800_000 });
    expect(queue.release('3', 'failure')).toBe('failure');
    expect([queue.acquire('new'), queue.acquire('3')]).toEqual(['lease_taken', 'lease_taken']);
    expect([queue.acquire('2'), queue.release('2', 'failure')]).toEqual(['acquired', 'failure']);
    expect(queue.acquire('new')).toBe('lease_taken');
    expect([queue.acquire('1'), queue.release('1', 'failure')]).toEqual(['acquired', 'failure']);
    expect([queue.acquire('new'), queue.acquire('3')]).toEqual(['pending', 'pending']);
  });

  it('3: after a failure newcomers stay out until an heir succeeded and all losers are told', () => {
    const queue = heldByHighest({ stabilisation_ms: 604_800_000 });
    queue.release('3', 'failure');
    expect([queue.acquire('2'), queue.release('2', 'success')]).toEqual(['acquired', 'completed']);
    expect([queue.acquire('new'), queue.acquire('1'), queue.acquire('new')]).toEqual([
      'lease_taken',
      'completed',
      'pending',
    ]);
  });

  it('4: after a success newcomers stay out until every known loser has polled, not for a while only', () => {
    const queue = heldByHighest();
    queue.pass(190_000);
    expect([queue.acquire('1'), queue.acquire('2')]).toEqual(['pending', 'pending']);
    queue.release('3', 'success');
    expect(queue.acquire('1')).toBe('completed');
    queue.pass(200_000);
    expect([queue.acquire('new'), queue.acquire('2'), queue.acquire('new')]).toEqual([
      'lease_taken',
      'completed',
      'pending',
    ]);
  });

  it('4: or until the losers were evicted', () => {
    const queue = heldByHighest();
    queue.release('3', 'success');
    queue.pass(200_001);
    expect(queue.acquire('new')).toBe('pending');
  });

  it('5: the ttl spares the holder', () => {
    const queue = heldByHighest();
    queue.pass(1_000_000);
    expect([queue.acquire('1'), queue.known]).toEqual(['pending', ['1', '3']]);
  });

  it('5: the ttl does not spare a completed holder', () => {
    const queue = heldByHighest({}, 2);
    queue.release('2', 'success');
    queue.pass(200_001);
    expect(queue.acquire('1')).toBe('completed');
    expect([queue.known, queue.show().acquired?.request]).toEqual([
      [],
      { headSha: '2', headRef: refOf(2), priority: 2, status: 'completed' },
    ]);
  });

  it('5: a build exactly as old as the ttl stays, one a millisecond older goes', () => {
    const queue = new MachineUnderTest({ expected_count: 9, stabilisation_ms: 604_800_000 });
    queue.acquire('1');
    queue.pass(200_000);
    queue.acquire('2');
    expect(queue.known).toEqual(['2', '1']);
    queue.pass(1);
    queue.acquire('2');
    expect(queue.known).toEqual(['2']);
  });

  it('5: the window is over exactly when its length has passed', () => {
    const queue = new MachineUnderTest();
    queue.acquire('1');
    queue.pass(29_999);
    expect(queue.acquire('1')).toBe('pending');
    queue.pass(1);
    expect(queue.acquire('1')).toBe('acquired');
  });

  it('6: the evicted loser of a held queue is a newcomer', () => {
    const queue = heldByHighest();
    queue.pass(200_001);
    expect(queue.acquire('1')).toBe('pending');
    expect(queue.acquire('2')).toBe('lease_taken');
  });

  it('7: the count is taken after eviction', () => {
    const queue = new MachineUnderTest({ expected_count: 2, stabilisation_ms: 604_800_000 });
    queue.acquire('old', { priority: 1 });
    queue.pass(200_001);
    expect(queue.acquire('2', { priority: 2 })).toBe('pending');
  });

  it('7: the count includes the build that polls', () => {
    const queue = new MachineUnderTest({ expected_count: 1 });
    expect(queue.acquire('1')).toBe('acquired');
  });

  it('8: misuse of release is refused in words of its own (codes: see the tests of the wire)', () => {
    const queue = new MachineUnderTest({ expected_count: 2 });
    expect(queue.release('1', 'success')).toBe('nothing_held');
    queue.acquire('1', { priority: 1 });
    queue.acquire('2', { priority: 2 });
    expect([queue.acquire('2'), queue.release('1', 'success')]).toEqual(['status_mismatch', 'not_the_holder']);
    queue.release('2', 'success');
    expect([queue.release('2', 'success'), queue.acquire('2')]).toEqual(['status_mismatch', 'status_mismatch']);
    expect(queue.acquire('1')).toBe('completed');
    expect(queue.release('2', 'success')).toBe('not_registered');
    expect(queue.show().acquired).toBeNull();
  });

  it('9: pull requests are told of a holder only, ascending by priority, and shrink with evictions', () => {
    const queue = new MachineUnderTest({ expected_count: 3 });
    const pending = queue.ask('3', { priority: 3 });
    queue.ask('1', { priority: 1 });
    queue.ask('2', { priority: 2 });
    const granted = queue.ask('3');
    expect([pending, granted]).toMatchObject([{ stackedPullRequests: null }, { stackedPullRequests: [1, 2, 3] }]);
    queue.pass(200_001);
    expect(queue.ask('2')).toMatchObject({ stackedPullRequests: null });
    expect(queue.stack).toEqual([2, 3]);
    expect(queue.releaseAs('3', 'success')).toMatchObject({ stackedPullRequests: null });
    expect(queue.show().known.map(({ stackedPullRequests }) => stackedPullRequests)).toEqual([null, null]);
  });

  it('9: a loser that raised its priority above that of the holder is not in the stack; doubles are named twice', () => {
    const queue = heldByHighest();
    queue.acquire('1', { priority: 8 });
    expect(queue.stack).toEqual([2, 3]);
    queue.acquire('2', { headRef: refOf(3) });
    expect(queue.stack).toEqual([3, 3]);
  });

  it('10: a completed or failed build is shown as the one that acquired', () => {
    const succeeded = heldByHighest();
    succeeded.release('3', 'success');
    const failed = heldByHighest();
    failed.release('3', 'failure');
    expect([succeeded, failed].map((queue) => [queue.show().acquired?.request.status, queue.known])).toEqual([
      ['completed', ['1', '2', '3']],
      ['failure', ['1', '2']],
    ]);
  });

  it('11: a lone winner that succeeded stays to be seen, and the next call frees the queue', () => {
    const queue = heldByHighest({}, 1);
    queue.release('1', 'success');
    expect(queue.show().acquired?.request.status).toBe('completed');
    expect(queue.acquire('new')).toBe('acquired');
  });

  it('12: the delay counts the eligible polls of one build, and those of others do not use it up', () => {
    const queue = new MachineUnderTest({ expected_count: 2, delay_count: 2 });
    queue.acquire('2', { priority: 2 });
    queue.acquire('1', { priority: 1 });
    expect([queue.acquire('1'), queue.acquire('2'), queue.acquire('1')]).toEqual(['pending', 'pending', 'pending']);
    expect(queue.acquire('2')).toBe('pending');
    expect(queue.acquire('2')).toBe('acquired');
  });

  it('12: a delay that was counted stays counted when a build loses the top place and has it again', () => {
    const queue = new MachineUnderTest({ expected_count: 1, delay_count: 2 });
    expect(queue.acquire('1', { priority: 1 })).toBe('pending');
    expect(queue.acquire('2', { priority: 2 })).toBe('pending');
    expect(queue.acquire('1')).toBe('pending');
    queue.acquire('1', { priority: 3 });
    expect(queue.acquire('1')).toBe('acquired');
  });

  it('12: the delay applies to an heir too', () => {
    const queue = new MachineUnderTest({ expected_count: 2, delay_count: 1 });
    queue.acquire('1', { priority: 1 });
    expect([queue.acquire('2', { priority: 2 }), queue.acquire('2')]).toEqual(['pending', 'acquired']);
    queue.release('2', 'failure');
    expect([queue.acquire('1'), queue.acquire('1')]).toEqual(['pending', 'acquired']);
  });
});
