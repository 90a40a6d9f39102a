import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type TestDatabase, freshDatabase } from '../support/database.ts';
import {
  Builds,
  aMergeQueue,
  headRefOf,
  openReplica,
  originalSettings,
  outcomeOf,
  stackOf,
  tokenOf,
  twoReplicas,
  waitOf,
} from './support/service.ts';
import { type VirtualClock, stopClock } from './support/virtual-clock.ts';

/** Section 10 of the specification of mq-lease-service, and those of section 4 that need storage; two replicas in turn. */

let db: TestDatabase;
let clock: VirtualClock;
let service: ReturnType<typeof twoReplicas>;
let builds: Builds;
let queues = 0;

const { stabilisation_ms: windowMs, ttl_ms: ttlMs } = originalSettings;

beforeAll(async () => {
  db = await freshDatabase();
  clock = await stopClock(db);
  service = twoReplicas(db);
});
afterAll(async () => {
  await service[Symbol.asyncDispose]();
  await db[Symbol.asyncDispose]();
});
beforeEach(() => {
  builds = new Builds(service.replicas, aMergeQueue(`branch${queues++}`));
});

function configure(change: Parameters<(typeof service.replicas)[0]['queues']['configure']>[1]) {
  return builds.next().configure(builds.id, change, { ifVersion: undefined, actor: undefined });
}

/** 1 … n - 1 wait, n has the lease. */
async function heldBy(n: number): Promise<number> {
  for (let build = 1; build < n; build++) await builds.poll(build);
  await builds.poll(n);
  await clock.pass(windowMs);
  return tokenOf(await builds.poll(n, { requestId: `attempt of ${n}` }));
}

async function windowStart(): Promise<number> {
  return (await builds.show()).lastUpdatedAtMs;
}

describe('rule 1: the window', () => {
  it('restarts on a newcomer, a changed priority, a changed ref and a release', async () => {
    await builds.poll(1);
    const changes = [
      () => builds.poll(2),
      () => builds.poll(1, { priority: 7 }),
      () => builds.poll(1, { priority: 7, headRef: headRefOf(77) }),
      () => builds.poll(2, { priority: 1 }),
    ];
    for (const change of changes) {
      await clock.pass(1000);
      await change();
      expect(await windowStart()).toBe(clock.nowMs);
    }
    await clock.pass(windowMs);
    expect(outcomeOf(await builds.poll(1, { priority: 7, headRef: headRefOf(77) }))).toBe('acquired');
    expect(await windowStart()).toBe(clock.nowMs - windowMs);
    await builds.release(1, 'failure', { priority: 7, headRef: headRefOf(77) });
    expect(await windowStart()).toBe(clock.nowMs);
  });

  it('does not restart on a plain re-poll, an eviction, the giving of the lease or a refused call', async () => {
    await configure({ ttl_ms: 20_000 });
    await builds.polls(1, 2);
    const began = clock.nowMs;
    await clock.pass(15_000);
    await builds.poll(2);
    await clock.pass(10_000);
    expect((await builds.polls(2))[0]).toBe('pending');
    expect((await builds.brief()).known).toEqual(['sha2 pending']);
    await clock.pass(5000);
    expect(await builds.polls(2)).toEqual(['acquired']);
    await clock.pass(1000);
    expect(await builds.polls(3, 2)).toEqual(['lease_taken', 'status_mismatch']);
    expect(outcomeOf(await builds.release(3, 'success'))).toBe('not_the_holder');
    expect(await windowStart()).toBe(began);
  });
});

describe('rule 2: the lease', () => {
  it('is given only on a poll of a highest one, never pushed and never on the poll of another', async () => {
    await builds.polls(4, 3, 2, 1);
    expect((await builds.brief()).acquired).toBeNull();
    expect(await builds.polls(3, 2, 1)).toEqual(['pending', 'pending', 'pending']);
    await clock.pass(windowMs);
    expect(await builds.polls(3, 2, 1)).toEqual(['pending', 'pending', 'pending']);
    expect((await builds.brief()).acquired).toBeNull();
    expect(await builds.polls(4)).toEqual(['acquired']);
  });

  it('goes to the first of equals that polls', async () => {
    await builds.poll(1, { priority: 5 });
    await builds.poll(2, { priority: 5 });
    await clock.pass(windowMs);
    expect(outcomeOf(await builds.poll(2, { priority: 5 }))).toBe('acquired');
    expect(outcomeOf(await builds.poll(1, { priority: 5 }))).toBe('pending');
  });
});

describe('rule 3: after a failure', () => {
  it('the heirs go in order without window or count, and newcomers stay out until all have failed', async () => {
    await heldBy(3);
    await builds.release(3, 'failure');
    expect(await builds.polls(9, 1, 9, 2)).toEqual(['lease_taken', 'pending', 'lease_taken', 'acquired']);
    await builds.release(2, 'failure');
    expect(await builds.polls(9, 3, 1)).toEqual(['lease_taken', 'lease_taken', 'acquired']);
    await builds.release(1, 'failure');
    expect(await builds.brief()).toEqual({ acquired: null, known: [] });
    expect(await builds.polls(9, 3)).toEqual(['pending', 'pending']);
  });

  it('newcomers stay out until one succeeds and all losers are told', async () => {
    await heldBy(3);
    await builds.release(3, 'failure');
    expect(await builds.polls(2)).toEqual(['acquired']);
    await builds.release(2, 'success');
    expect(await builds.polls(9, 1, 9)).toEqual(['lease_taken', 'completed', 'pending']);
  });
});

describe('rule 4: after a success', () => {
  it('newcomers stay out until every known loser has polled, however long that takes within their ttl', async () => {
    await heldBy(3);
    await clock.pass(ttlMs - windowMs);
    await builds.polls(1, 2);
    await builds.release(3, 'success');
    await clock.pass(ttlMs);
    expect(await builds.polls(4, 1, 4, 2, 4)).toEqual([
      'lease_taken',
      'completed',
      'lease_taken',
      'completed',
      'pending',
    ]);
  });

  it('newcomers stay out until every known loser was evicted', async () => {
    await heldBy(3);
    await builds.polls(1, 2);
    await builds.release(3, 'success');
    await clock.pass(ttlMs);
    expect(await builds.polls(4)).toEqual(['lease_taken']);
    await clock.pass(1);
    expect(await builds.polls(4)).toEqual(['pending']);
  });
});

describe('rule 5: the ttl', () => {
  it('spares the holder, is strict, and the window is not', async () => {
    await configure({ stabilisation_ms: ttlMs, hold_ttl_ms: 100 * ttlMs });
    await builds.polls(1, 2);
    await clock.pass(ttlMs);
    // Exactly the ttl is not silent, exactly the window is over.
    expect(await builds.polls(2)).toEqual(['acquired']);
    expect((await builds.brief()).known).toEqual(['sha1 pending', 'sha2 acquired']);
    await clock.pass(1);
    await builds.poll(2, { fencingToken: 1 });
    expect((await builds.brief()).known).toEqual(['sha1 pending', 'sha2 acquired']);
    await clock.pass(50 * ttlMs);
    expect(outcomeOf(await builds.poll(3))).toBe('lease_taken');
    expect((await builds.brief()).acquired).toBe('sha2 acquired');
  });

  it('does not spare a completed holder: it is no longer listed, and still there', async () => {
    await heldBy(2);
    await builds.poll(1);
    await builds.release(2, 'success');
    await clock.pass(ttlMs - 1);
    await builds.poll(3);
    expect(await builds.brief()).toEqual({ acquired: 'sha2 completed', known: ['sha1 pending', 'sha2 completed'] });
  });
});

it('rule 6: the evicted loser of a held queue is a newcomer', async () => {
  await heldBy(3);
  await clock.pass(ttlMs - 1);
  // An accepted call evicts the silent: build 1 alone, for 2 has just called.
  await builds.poll(2);
  await clock.pass(2);
  await builds.poll(2);
  expect(await builds.polls(1)).toEqual(['lease_taken']);
});

it('rule 7: the count is taken after eviction and includes the polling request', async () => {
  await configure({ ttl_ms: 10_000, expected_count: 3 });
  await builds.polls(1);
  await clock.pass(10_001);
  expect(await builds.polls(2, 3)).toEqual(['pending', 'pending']);
  expect(await builds.polls(4)).toEqual(['acquired']);
});

it('rule 9: the stack is absent unless acquired, and is worked out anew', async () => {
  await builds.polls(1, 2);
  expect(stackOf(await builds.poll(3))).toBeNull();
  await clock.pass(windowMs);
  const first = await builds.poll(3, { requestId: 'r' });
  expect(stackOf(first)).toEqual([1, 2, 3]);
  expect(stackOf(await builds.poll(2, { priority: 9 }))).toBeNull();
  expect(stackOf(await builds.poll(3, { requestId: 'r' }))).toEqual([1, 3]);
  expect(stackOf(await builds.release(3, 'success'))).toBeNull();
});

it('rule 10: acquired in show may be a completed or a failed one', async () => {
  await heldBy(2);
  await builds.release(2, 'failure');
  expect(await builds.brief()).toEqual({ acquired: 'sha2 failure', known: ['sha1 pending'] });
  await builds.polls(1);
  await builds.poll(1);
  await builds.release(1, 'success');
  expect(await builds.brief()).toEqual({ acquired: 'sha1 completed', known: ['sha1 completed'] });
});

it.each([
  ['a newcomer', () => builds.polls(2), 'pending'],
  ['itself', () => builds.polls(1), 'pending'],
  [
    'its second release',
    async () => {
      expect(outcomeOf(await builds.release(1, 'success'))).toBe('not_registered');
      return builds.polls(1);
    },
    'pending',
  ],
] as const)(
  'rule 11: a lone winner that succeeded does not block: the next call, %s, frees',
  async (_who, call, said) => {
    await heldBy(1);
    await builds.release(1, 'success');
    expect(await builds.brief()).toEqual({ acquired: 'sha1 completed', known: ['sha1 completed'] });
    expect(await call()).toEqual([said]);
  },
);

it('rule 12: the delay counts eligible polls of one request, and others do not use it up', async () => {
  await configure({ delay_count: 2, expected_count: 2, stabilisation_ms: 60_000 });
  expect(await builds.polls(3)).toEqual(['pending']);
  expect(waitOf(await builds.poll(3)).delaysLeft).toBe(2);
  await builds.polls(1, 1, 1, 1);
  expect(waitOf(await builds.poll(3))).toMatchObject({ waitingFor: 'delay', delaysLeft: 1 });
  await builds.polls(1, 1, 1, 1);
  expect(await builds.polls(3, 3)).toEqual(['pending', 'acquired']);
  await builds.release(3, 'failure');
  // An heir is delayed as well (4.3).
  expect(await builds.polls(1, 1, 1)).toEqual(['pending', 'pending', 'acquired']);
});

describe('a restart of every replica', () => {
  /** What only one process knew is gone. */
  async function restarted<Result>(work: (builds: Builds) => Promise<Result>): Promise<Result> {
    await using replica = openReplica(db);
    return await work(new Builds([replica], builds.id));
  }

  it('keeps the failure marker: no newcomer gets in above the heirs (W12)', async () => {
    await heldBy(3);
    await builds.release(3, 'failure');
    await restarted(async (anew) => {
      expect(await anew.brief()).toEqual({ acquired: 'sha3 failure', known: ['sha1 pending', 'sha2 pending'] });
      expect(await anew.polls(9, 1, 2)).toEqual(['lease_taken', 'pending', 'acquired']);
    });
  });

  it('keeps the delay that was counted (W12)', async () => {
    await configure({ delay_count: 2, expected_count: 1 });
    expect(await builds.polls(1)).toEqual(['pending']);
    expect(await restarted((anew) => anew.polls(1))).toEqual(['pending']);
    expect(await restarted((anew) => anew.polls(1))).toEqual(['acquired']);
  });

  it('keeps the window, the holder with its token and deadline, and who was completed', async () => {
    const token = await heldBy(3);
    await clock.pass(1000);
    await restarted(async (anew) => {
      const again = await anew.poll(3, { fencingToken: token });
      expect(again).toMatchObject({
        kind: 'request',
        request: { status: 'acquired' },
        grant: { fencingToken: token, acquiredAtMs: clock.nowMs - 1000 },
      });
      await anew.release(3, 'success', { fencingToken: token });
    });
    await restarted(async (anew) => {
      expect(await anew.polls(4, 1, 4, 2, 4)).toEqual([
        'lease_taken',
        'completed',
        'lease_taken',
        'completed',
        'pending',
      ]);
    });
    await clock.pass(windowMs);
    expect(await restarted((anew) => anew.polls(4))).toEqual(['acquired']);
  });

  it('keeps a changed priority and ref, and when each was last heard', async () => {
    await configure({ stabilisation_ms: ttlMs + 1 });
    await builds.polls(1, 2);
    await builds.poll(1, { priority: 8, headRef: headRefOf(88) });
    await clock.pass(ttlMs);
    await builds.poll(1, { priority: 8, headRef: headRefOf(88) });
    await clock.pass(1);
    const answer = await restarted((anew) => anew.poll(1, { priority: 8, headRef: headRefOf(88) }));
    expect([outcomeOf(answer), stackOf(answer)]).toEqual(['acquired', [88]]);
    expect((await builds.brief()).known).toEqual(['sha1 acquired']);
  });
});
