import { describe, expect, it } from 'vitest';
import { registeredMax } from '../../../src/merge-queue/machine/acquire.ts';
import { MachineUnderTest, refOf } from '../support/machine-under-test.ts';

type Settings = ConstructorParameters<typeof MachineUnderTest>[0];

/** Builds named after their priorities; 3 holds. */
function heldByThree(settings: Settings = {}): MachineUnderTest {
  const queue = new MachineUnderTest({ expected_count: 3, ...settings });
  for (const sha of ['1', '2', '3']) queue.acquire(sha, { priority: Number(sha) });
  expect(queue.state.grant?.headSha).toBe('3');
  return queue;
}

/** 2 holds by the window; 3 is of its priority and 5 was raised above it, both registered before it had the lease. */
function withBuildsNotContained(settings: Settings = {}): MachineUnderTest {
  const queue = new MachineUnderTest({ expected_count: 9, success_completes: 'contained', ...settings });
  queue.acquire('1', { priority: 1 });
  queue.acquire('2', { priority: 3 });
  queue.acquire('3', { priority: 3, headRef: refOf(33) });
  queue.acquire('5', { priority: 2, headRef: refOf(5) });
  queue.pass(30_000);
  expect(queue.acquire('2')).toBe('acquired');
  expect(queue.acquire('5', { priority: 5 })).toBe('pending');
  return queue;
}

describe('success_completes (W7)', () => {
  it('all: a success completes builds of the same and of a higher priority too', () => {
    const queue = withBuildsNotContained({ success_completes: 'all' });
    queue.release('2', 'success');
    expect(['1', '3', '5'].map((sha) => queue.acquire(sha))).toEqual(['completed', 'completed', 'completed']);
  });

  it('contained: a success completes those of lower priority only; the others go on when those are told', () => {
    const queue = withBuildsNotContained();
    expect(queue.release('2', 'success')).toBe('completed');
    expect(['3', '5', 'new'].map((sha) => queue.acquire(sha))).toEqual(['pending', 'pending', 'lease_taken']);
    expect(queue.ask('5')).toMatchObject({ wait: { waitingFor: 'draining', blockedBy: { headSha: '2' } } });
    expect(queue.acquire('1')).toBe('completed');
    queue.pass(30_000);
    expect(['3', '5'].map((sha) => queue.acquire(sha))).toEqual(['pending', 'acquired']);
  });

  it('contained: a success that contains nobody keeps nobody out', () => {
    const queue = withBuildsNotContained();
    queue.release('2', 'success');
    queue.acquire('1');
    expect(queue.acquire('new')).toBe('pending');
    expect(queue.known).toHaveLength(3);
  });

  it('contained: a build whose priority shrinks once the success is merged is not completed by that', () => {
    const queue = withBuildsNotContained();
    queue.release('2', 'success');
    expect(queue.acquire('5', { priority: 2 })).toBe('pending');
    expect(queue.acquire('5', { priority: 2 })).toBe('pending');
    expect(queue.acquire('1')).toBe('completed');
    expect(queue.acquire('5', { priority: 2 })).toBe('pending');
    expect(queue.show().known.map(({ request: { headSha, priority } }) => [headSha, priority])).toEqual([
      ['5', 2],
      ['3', 3],
    ]);
  });

  it('contained: a build that was contained is completed whatever priority it asks with afterwards', () => {
    const queue = withBuildsNotContained();
    queue.release('2', 'success');
    expect(queue.acquire('1', { priority: 9 })).toBe('completed');
  });

  it('contained: what the completed holder says later does not change whom it completed', () => {
    const queue = withBuildsNotContained();
    queue.release('2', 'success');
    expect([queue.acquire('2', { priority: 9 }), queue.release('2', 'success', { priority: 9 })]).toEqual([
      'status_mismatch',
      'status_mismatch',
    ]);
    expect([queue.acquire('3'), queue.acquire('5')]).toEqual(['pending', 'pending']);
  });

  it('contained: the priority of the grant counts, not that of the release', () => {
    for (const stated of [9, 1]) {
      const queue = withBuildsNotContained();
      expect(queue.releaseAs('2', 'success', { priority: stated })).toMatchObject({ request: { priority: 3 } });
      expect(queue.events.at(-1)).toMatchObject({ type: 'ended', priority: 3, mergedBatchSize: 2 });
      expect(['3', '5', '1'].map((sha) => queue.acquire(sha))).toEqual(['pending', 'pending', 'completed']);
    }
  });

  it('contained: the priority of the grant counts, not that of a poll of the holder, refused or not', () => {
    for (const asked of [{}, { fencingToken: 1 }])
      for (const priority of [9, 1]) {
        const queue = withBuildsNotContained({ refused_acquire_updates: true });
        const said = queue.acquire('2', { priority, headRef: refOf(20), ...asked });
        expect(said).toBe('fencingToken' in asked ? 'acquired' : 'status_mismatch');
        expect(queue.state.grant).toMatchObject({ priority: 3, headRef: refOf(20) });
        queue.release('2', 'success');
        expect(['3', '5', '1'].map((sha) => queue.acquire(sha))).toEqual(['pending', 'pending', 'completed']);
      }
  });

  it('all: the latest priority of the holder is kept and shown, as in the original', () => {
    const queue = withBuildsNotContained({ success_completes: 'all' });
    queue.acquire('2', { priority: 4, fencingToken: 1 });
    expect(queue.state.grant?.priority).toBe(4);
    queue.acquire('2', { priority: 6 });
    expect(queue.state.grant?.priority).toBe(6);
    expect(queue.releaseAs('2', 'success', { priority: 8 })).toMatchObject({ request: { priority: 8 } });
    expect(queue.show().acquired?.request.priority).toBe(8);
  });

  it('contained: a silent build that was not contained is not told that it is completed', () => {
    const queue = withBuildsNotContained();
    queue.release('2', 'success');
    queue.pass(200_001);
    queue.tick();
    expect(queue.state).toMatchObject({ grant: null, pending: [], remembered: [{ headSha: '1' }] });
    expect(['3', '5', '1'].map((sha) => queue.acquire(sha))).toEqual(['pending', 'pending', 'completed']);
  });
});

describe('refused_acquire_updates (W8)', () => {
  it('true: a refused acquire of the holder stores its priority and ref, as in the original', () => {
    const queue = heldByThree();
    expect(queue.acquire('3', { priority: 7, headRef: refOf(70) })).toBe('status_mismatch');
    expect(queue.state.grant).toMatchObject({ priority: 7, headRef: refOf(70) });
    expect(queue.stack).toEqual([1, 2, 70]);
  });

  it('false: it stores nothing', () => {
    const queue = heldByThree({ refused_acquire_updates: false });
    const before = queue.state;
    expect(queue.acquire('3', { priority: 7, headRef: refOf(70) })).toBe('status_mismatch');
    expect(queue.state).toBe(before);
    queue.release('3', 'success');
    const completed = queue.state;
    expect([queue.acquire('3', { priority: 8 }), queue.release('3', 'success', { priority: 9 })]).toEqual([
      'status_mismatch',
      'status_mismatch',
    ]);
    expect(queue.state).toBe(completed);
  });
});

describe('require_token (W9)', () => {
  it('false: the sha is enough', () => {
    expect(heldByThree().release('3', 'success')).toBe('completed');
  });

  it('true: a release without a token is refused and changes nothing', () => {
    const queue = heldByThree({ require_token: true });
    const before = queue.state;
    expect(queue.release('3', 'success')).toBe('token_required');
    expect(queue.state).toBe(before);
    expect(queue.release('3', 'success', { fencingToken: queue.newestToken })).toBe('completed');
  });

  it('a token that is shown is checked whether it is required or not', () => {
    const queue = heldByThree();
    const before = queue.state;
    expect(queue.release('3', 'failure', { fencingToken: queue.newestToken + 1 })).toBe('token_mismatch');
    expect(queue.state).toBe(before);
  });

  it('a late job with the token of an earlier grant of the same commit acts on nothing', () => {
    const queue = new MachineUnderTest({ expected_count: 1 });
    queue.acquire('1');
    queue.release('1', 'failure');
    expect(queue.acquire('1')).toBe('acquired');
    expect(queue.newestToken).toBe(2);
    expect([queue.release('1', 'success', { fencingToken: 1 }), queue.renew('1', 1)]).toEqual([
      'token_mismatch',
      'token_mismatch',
    ]);
    expect(queue.state.grant).toMatchObject({ outcome: null, fencingToken: 2 });
  });
});

describe('request_id (W2)', () => {
  function heldByRun(): MachineUnderTest {
    const queue = new MachineUnderTest({ expected_count: 1, hold_ttl_ms: 60_000 });
    queue.acquire('1', { requestId: 'run 1' });
    queue.pass(10_000);
    return queue;
  }

  it('the holder that asks again under its request id gets the same lease, renewed', () => {
    const queue = heldByRun();
    expect(queue.ask('1', { requestId: 'run 1' })).toMatchObject({
      request: { status: 'acquired' },
      stackedPullRequests: [1],
      grant: { fencingToken: 1, acquiredAtMs: queue.nowMs - 10_000, ttlRemainingMs: 60_000 },
    });
    expect(queue.last?.events).toEqual([]);
    expect(queue.state.grant?.lastSeenAtMs).toBe(queue.nowMs);
  });

  it('another request id, or none, is refused as in the original', () => {
    const queue = heldByRun();
    expect([queue.acquire('1', { requestId: 'run 2' }), queue.acquire('1')]).toEqual([
      'status_mismatch',
      'status_mismatch',
    ]);
  });

  it('the token does as well, and a wrong one is refused even beside the right request id', () => {
    const queue = heldByRun();
    expect([
      queue.acquire('1', { fencingToken: 1 }),
      queue.acquire('1', { fencingToken: 7, requestId: 'run 1' }),
    ]).toEqual(['acquired', 'token_mismatch']);
  });

  it('a holder without a request id is not the same attempt as a client without one', () => {
    const queue = heldByThree();
    expect(queue.acquire('3')).toBe('status_mismatch');
  });

  it('the lease belongs to the attempt that got it, not to one that had asked before for the same commit', () => {
    const queue = new MachineUnderTest({ expected_count: 2 });
    queue.acquire('2', { priority: 2, requestId: 'run 1' });
    queue.acquire('1', { priority: 1 });
    expect(queue.acquire('2')).toBe('acquired');
    expect(queue.acquire('2', { requestId: 'run 1' })).toBe('status_mismatch');
  });

  it('nor does a deadline that another attempt had asked for', () => {
    const queue = new MachineUnderTest({ expected_count: 2 });
    queue.acquire('2', { priority: 2, requestId: 'run 1', holdTtlMs: 5000 });
    queue.acquire('1', { priority: 1, requestId: 'run 1', holdTtlMs: 5000 });
    expect(queue.ask('2', { requestId: 'run 2' })).toMatchObject({ grant: { ttlRemainingMs: 2_000_000 } });
    queue.release('2', 'failure');
    expect(queue.ask('1', { requestId: 'run 1' })).toMatchObject({ grant: { ttlRemainingMs: 5000 } });
  });

  it('a build that was told that it is completed is told so again under its request id, and is else a newcomer', () => {
    const toldOnce = () => {
      const queue = new MachineUnderTest({ expected_count: 2 });
      queue.acquire('1', { priority: 1, requestId: 'run 1' });
      queue.acquire('2', { priority: 2 });
      queue.release('2', 'success');
      expect(queue.acquire('1', { requestId: 'run 1' })).toBe('completed');
      return queue;
    };
    const again = toldOnce();
    expect([again.acquire('1', { requestId: 'run 1' }), again.acquire('1', { requestId: 'run 1' })]).toEqual([
      'completed',
      'completed',
    ]);
    expect(again.last?.events).toEqual([]);
    for (const requestId of [null, 'run 2']) {
      const queue = toldOnce();
      expect([queue.acquire('1', { requestId }), queue.acquire('1', { requestId: 'run 1' })]).toEqual([
        'pending',
        'pending',
      ]);
    }
  });

  it('the completed holder that asks again under its request id is told that it is completed', () => {
    const queue = new MachineUnderTest({ expected_count: 2 });
    queue.acquire('1', { priority: 1 });
    queue.acquire('2', { priority: 2, requestId: 'run 2' });
    queue.release('2', 'success');
    expect(queue.acquire('2', { requestId: 'run 2' })).toBe('completed');
  });
});

describe('an acquire that shows a token of a lease that is over', () => {
  it('is refused and registers nothing, however the lease ended; without the token it registers', () => {
    for (const outcome of ['success', 'failure', 'cancelled'] as const) {
      const queue = new MachineUnderTest({ expected_count: 1 });
      queue.acquire('1', { requestId: 'run 1' });
      queue.release('1', outcome);
      queue.acquire('2');
      queue.release('2', 'failure');
      const before = queue.state;
      expect(queue.acquire('1', { fencingToken: 1, requestId: 'run 1' })).toBe('token_mismatch');
      expect(queue.state).toBe(before);
      expect(queue.acquire('1')).toBe('acquired');
    }
  });

  it('is refused while another holds, and while the build itself holds again: neither lease is touched', () => {
    const queue = new MachineUnderTest({ expected_count: 1 });
    queue.acquire('1');
    queue.release('1', 'failure');
    for (const holder of ['2', '1']) {
      queue.acquire(holder, { requestId: 'run' });
      const before = queue.state;
      expect(queue.acquire('1', { fencingToken: 1, requestId: 'run' })).toBe('token_mismatch');
      expect(queue.state).toBe(before);
      queue.release(holder, 'failure');
    }
  });

  it('is refused to a build that waits: it keeps its place, and gives no sign of life', () => {
    const queue = heldByThree();
    const before = queue.state;
    queue.pass(1000);
    expect(queue.acquire('2', { priority: 9, fencingToken: 1 })).toBe('token_mismatch');
    expect(queue.state).toBe(before);
  });

  it('is refused to a build that was completed before it asked, which is told when it asks without', () => {
    const queue = heldByThree();
    queue.release('3', 'success');
    queue.pass(200_001);
    queue.tick();
    expect([queue.acquire('1', { fencingToken: 7 }), queue.acquire('1')]).toEqual(['token_mismatch', 'completed']);
  });
});

describe('builds that were completed and forgotten before they asked', () => {
  /** A success of the build `holder`, whose losers then fall silent. */
  function successBeforeSilent(queue: MachineUnderTest, holder: string, losers: readonly string[]): void {
    queue.settings = { ...queue.settings, expected_count: losers.length + 1 };
    for (const sha of losers) queue.acquire(sha, { priority: 1 });
    expect(queue.acquire(holder, { priority: 2 })).toBe('acquired');
    queue.release(holder, 'success');
    queue.pass(200_001);
    queue.tick();
    expect(queue.state).toMatchObject({ grant: null, pending: [] });
    // As the database gives them back.
    queue.state = {
      ...queue.state,
      remembered: queue.state.remembered.toSorted((a, b) => (a.headSha < b.headSha ? -1 : 1)),
    };
  }
  const named = (letter: string, count: number) => Array.from({ length: count }, (_, n) => `${letter}${100 + n}`);
  const letters = ({ state }: MachineUnderTest) =>
    Object.fromEntries(
      Object.entries(Object.groupBy(state.remembered, ({ headSha }) => headSha.charAt(0))).map(([letter, all = []]) => [
        letter,
        all.length,
      ]),
    );

  it('are remembered, but at most the newest 200', () => {
    const queue = new MachineUnderTest();
    successBeforeSilent(queue, 'first holder', named('z', 150));
    expect(letters(queue)).toEqual({ z: 150 });
    successBeforeSilent(queue, 'second holder', named('a', 100));
    expect(letters(queue)).toEqual({ a: 100, z: 100 });
    successBeforeSilent(queue, 'third holder', named('m', 100));
    expect(letters(queue)).toEqual({ a: 100, m: 100 });
    expect([queue.acquire('a150'), queue.acquire('m150'), queue.acquire('z149')]).toEqual([
      'completed',
      'completed',
      'pending',
    ]);
  });

  it('of one success more than 200: those that registered last', () => {
    const queue = new MachineUnderTest();
    successBeforeSilent(queue, 'holder', named('b', 201));
    expect([queue.state.remembered.length, queue.acquire('b100'), queue.acquire('b101')]).toEqual([
      200,
      'pending',
      'completed',
    ]);
  });
});

describe('release again (W10)', () => {
  for (const outcome of ['success', 'failure', 'cancelled'] as const)
    it(`${outcome}: with the token it is answered as the first time, and changes nothing`, () => {
      const queue = heldByThree();
      const first = queue.releaseAs('3', outcome, { fencingToken: 1 });
      const before = queue.state;
      expect(queue.releaseAs('3', outcome, { fencingToken: 1 })).toEqual(first);
      expect(queue.state).toBe(before);
    });

  it('with the token and another outcome it is refused, and changes nothing', () => {
    const queue = heldByThree();
    queue.release('3', 'failure');
    const before = queue.state;
    expect(queue.release('3', 'success', { fencingToken: 1 })).toBe('ended_otherwise');
    expect(queue.state).toBe(before);
  });

  it('of a lone winner with the token does not reset the queue', () => {
    const queue = new MachineUnderTest({ expected_count: 1 });
    queue.acquire('1');
    queue.release('1', 'success');
    expect(queue.release('1', 'success', { fencingToken: 1 })).toBe('completed');
    expect(queue.show().acquired?.request.status).toBe('completed');
  });

  it('without the token it is refused as in the original', () => {
    const succeeded = heldByThree();
    succeeded.release('3', 'success');
    const failed = heldByThree();
    failed.release('3', 'failure');
    expect([succeeded.release('3', 'success'), failed.release('3', 'failure')]).toEqual([
      'status_mismatch',
      'lease_taken',
    ]);
  });
});

describe('cancelled (W11)', () => {
  it('is handed down like a failure, and told as cancelled', () => {
    const queue = heldByThree();
    expect(queue.release('3', 'cancelled')).toBe('cancelled');
    expect([queue.acquire('new'), queue.acquire('1'), queue.acquire('2')]).toEqual([
      'lease_taken',
      'pending',
      'acquired',
    ]);
  });

  it('of the last build opens the queue at once', () => {
    const queue = new MachineUnderTest({ expected_count: 1 });
    queue.acquire('1');
    queue.release('1', 'cancelled');
    expect([queue.show().acquired, queue.last?.events.map(({ type }) => type)]).toEqual([null, ['ended', 'opened']]);
  });
});

describe('what is told of a build', () => {
  it('how long it waited counts from when it registered, and among equals the first registered is before the others', () => {
    const queue = new MachineUnderTest({ expected_count: 3 });
    queue.acquire('first', { priority: 2 });
    queue.pass(1000);
    queue.acquire('second', { priority: 2 });
    queue.pass(1000);
    expect(queue.ask('first')).toMatchObject({ wait: { position: 1 } });
    expect(queue.ask('second')).toMatchObject({ wait: { position: 2 } });
    queue.acquire('low', { priority: 1 });
    queue.acquire('first');
    expect(queue.events.at(-1)).toMatchObject({ type: 'acquired', headSha: 'first', waitedMs: 2000 });
  });

  it('the batch that a success merged is the build itself and those of lower priority', () => {
    const queue = new MachineUnderTest({ expected_count: 4 });
    for (const [sha, priority] of Object.entries({ low: 1, lower: 2, equal: 3, winner: 3 }))
      queue.acquire(sha, { priority });
    queue.acquire('low', { priority: 9 });
    queue.release('winner', 'success');
    expect(queue.events.at(-1)).toMatchObject({ type: 'ended', outcome: 'success', mergedBatchSize: 2 });
  });
});

describe('builds that nobody asks for while the queue is open or held', () => {
  for (const [ttlMs, keptMs] of [
    [200_000, 600_000],
    [5000, 60_000],
  ] as const)
    it(`of a ttl of ${ttlMs} ms are forgotten by the reaper after ${keptMs} ms of silence`, () => {
      const queue = new MachineUnderTest({ ttl_ms: ttlMs });
      queue.acquire('1');
      queue.pass(keptMs);
      queue.tick();
      expect([queue.known, queue.dueAtMs]).toEqual([['1'], queue.nowMs + 1]);
      queue.pass(1);
      queue.tick();
      expect([queue.known, queue.dueAtMs]).toEqual([[], null]);
    });
});

describe('the most that may be registered', () => {
  it('one more is refused, and let in as soon as the silent ones may go', () => {
    const queue = new MachineUnderTest({ expected_count: 9999 });
    for (let count = 0; count < registeredMax; count++) queue.acquire(`build ${count}`);
    expect(queue.acquire('one more')).toBe('queue_full');
    expect(queue.acquire('build 0')).toBe('pending');
    queue.pass(queue.settings.ttl_ms + 1);
    expect(queue.acquire('one more')).toBe('pending');
    expect(queue.known).toEqual(['one more']);
  });
});
