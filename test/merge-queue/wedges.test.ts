import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { mergeQueueChores } from '../../src/maintenance/merge-queue-reaper.ts';
import { parseMergeQueueName } from '../../src/protocol/merge-queue.ts';
import type { Epoch, ReplicaId } from '../../src/protocol/ids.ts';
import { type TestDatabase, freshDatabase } from '../support/database.ts';
import { Builds, aMergeQueue, outcomeOf, originalSettings, stackOf, tokenOf, twoReplicas } from './support/service.ts';
import { type VirtualClock, stopClock } from './support/virtual-clock.ts';

/** The wedges of section 11 of the specification of mq-lease-service, through two replicas in turn. */

let db: TestDatabase;
let clock: VirtualClock;
let service: ReturnType<typeof twoReplicas>;
let builds: Builds;
let queues = 0;

const { stabilisation_ms: windowMs, ttl_ms: ttlMs } = originalSettings;
const holdTtlMs = 10 * ttlMs;
const term = { replicaId: 'leader:1:0' as ReplicaId, epoch: 1 as Epoch };

beforeAll(async () => {
  db = await freshDatabase();
  clock = await stopClock(db);
  await db.query(`select signalbox_v1.campaign('leader:1:0', 2000000000)`);
  service = twoReplicas(db);
});
afterAll(async () => {
  await service[Symbol.asyncDispose]();
  await db[Symbol.asyncDispose]();
});
beforeEach(() => {
  builds = new Builds(service.replicas, aMergeQueue(`branch${queues++}`));
});

/** One round of the reaper; what it moved. */
async function reap(): Promise<number> {
  const [replica] = service.replicas;
  const [chore] = mergeQueueChores({
    db: replica.database,
    leaseMs: 10_000,
    idleMs: 3_600_000,
    tick: async (name) => {
      const id = parseMergeQueueName(name);
      return id === undefined ? 0 : (await replica.desk.tick(id, term)).length;
    },
  });
  const { moved = 0 } = (await chore?.runOnce({ term, signal: new AbortController().signal })) ?? {};
  return moved;
}

async function heldBy(n: number): Promise<number> {
  for (let build = 1; build < n; build++) await builds.poll(build);
  await builds.poll(n);
  await clock.pass(windowMs);
  return tokenOf(await builds.poll(n, { requestId: `attempt of ${n}` }));
}

/** Time passes in steps; in each the leader looks, if there is one, and `call` is made. Ends when it answers something else than refused. */
async function timeUntilIn(withLeader: boolean, call: () => Promise<string>): Promise<number> {
  const from = clock.nowMs;
  for (;;) {
    if (withLeader) await reap();
    if ((await call()) !== 'lease_taken') return clock.nowMs - from;
    if (clock.nowMs - from > 3 * holdTtlMs) throw new Error('it is wedged');
    await clock.pass(ttlMs / 10);
  }
}

const newcomer = async () => outcomeOf(await builds.poll(99));

describe.each([
  ['with a leader', true],
  ['without any leader', false],
])('%s', (_leader, withLeader) => {
  it('W1: a holder that dies is followed by the highest of those that ask, after its hold ttl', async () => {
    await heldBy(3);
    for (let passed = 0; passed < holdTtlMs - ttlMs; passed += ttlMs / 2) {
      await clock.pass(ttlMs / 2);
      if (withLeader) await reap();
      expect(await builds.polls(1, 2, 99)).toEqual(['pending', 'pending', 'lease_taken']);
    }
    await clock.pass(ttlMs);
    if (withLeader) expect(await reap()).toBe(1);
    const heir = await builds.poll(2);
    expect([outcomeOf(heir), stackOf(heir)]).toEqual(['acquired', [1, 2]]);
    expect(outcomeOf(await builds.release(2, 'success'))).toBe('completed');
    expect(await builds.polls(99, 1, 99)).toEqual(['lease_taken', 'completed', 'pending']);
  });

  it('W1: a holder that dies alone lets newcomers in after its hold ttl', async () => {
    await heldBy(1);
    expect(await timeUntilIn(withLeader, newcomer)).toBe(holdTtlMs);
  });

  it('W1: a holder that lost its answer and polls on without a request id does not keep itself alive', async () => {
    await builds.poll(1);
    await clock.pass(windowMs);
    expect(await builds.polls(1)).toEqual(['acquired']);
    const said = async () => {
      const outcome = outcomeOf(await builds.poll(1));
      return outcome === 'status_mismatch' ? 'lease_taken' : outcome;
    };
    // Then it is a newcomer.
    expect(await timeUntilIn(withLeader, said)).toBe(holdTtlMs);
    await clock.pass(windowMs);
    expect(await builds.polls(1)).toEqual(['acquired']);
  });

  it('W1: a holder that asked for a shorter deadline is gone sooner', async () => {
    await builds.poll(1, { holdTtlMs: 1000 });
    await clock.pass(windowMs);
    expect(await builds.polls(1)).toEqual(['acquired']);
    await clock.pass(1000);
    if (withLeader) await reap();
    expect(await newcomer()).toBe('pending');
  });

  it('W1: a holder that renews, or polls under its request id, keeps the lease for good', async () => {
    const token = await heldBy(2);
    for (let round = 0; round < 30; round++) {
      await clock.pass(holdTtlMs / 2);
      if (withLeader) await reap();
      const heard =
        round % 2 === 0 ? await builds.renew(2, token) : await builds.poll(2, { requestId: 'attempt of 2' });
      expect(tokenOf(heard)).toBe(token);
      expect(await newcomer()).toBe('lease_taken');
    }
  });

  it('W1: a longer hold ttl counts for the holder that is there, from when it was last heard; a shorter one does not', async () => {
    await heldBy(1);
    const setTo = (hold_ttl_ms: number) =>
      builds.next().configure(builds.id, { hold_ttl_ms }, { ifVersion: undefined, actor: undefined });
    await setTo(2 * holdTtlMs);
    // Somebody looks: the leader, or whoever calls.
    if (withLeader) await reap();
    else expect(await newcomer()).toBe('lease_taken');
    await clock.pass(1.5 * holdTtlMs);
    await setTo(1000);
    if (withLeader) await reap();
    expect(await newcomer()).toBe('lease_taken');
    expect(await timeUntilIn(withLeader, newcomer)).toBe(holdTtlMs / 2);
  });

  it('W3: a loser that dies after the success keeps newcomers out for its ttl', async () => {
    await heldBy(3);
    await builds.polls(1, 2);
    await builds.release(3, 'success');
    expect(await builds.polls(1)).toEqual(['completed']);
    expect(await timeUntilIn(withLeader, newcomer)).toBeLessThanOrEqual(2.2 * ttlMs);
  });

  it('W4: a last loser that polls later than the ttl is told completed all the same, and newcomers are in', async () => {
    await heldBy(2);
    await builds.release(2, 'success');
    await clock.pass(1.5 * ttlMs);
    if (withLeader) await reap();
    expect(await newcomer()).toBe('pending');
    expect(await builds.polls(1, 1)).toEqual(['completed', 'pending']);
  });

  it('W4: a last loser that polls first, later than the ttl, is told completed, and newcomers are in', async () => {
    await heldBy(2);
    await builds.release(2, 'success');
    await clock.pass(1.5 * ttlMs);
    if (withLeader) await reap();
    expect(await builds.polls(1)).toEqual(['completed']);
    expect(await newcomer()).toBe('pending');
  });

  it('W5: heirs that all die after a failure keep newcomers out for their ttl', async () => {
    await heldBy(3);
    await builds.polls(1, 2);
    await builds.release(3, 'failure');
    expect(await timeUntilIn(withLeader, newcomer)).toBeLessThanOrEqual(2.2 * ttlMs);
  });

  it('W5: the highest heir dies, and the next one has it after the ttl', async () => {
    await heldBy(3);
    await builds.polls(1, 2);
    await builds.release(3, 'failure');
    const from = clock.nowMs;
    while ((await builds.polls(1))[0] === 'pending') {
      await clock.pass(ttlMs / 10);
      if (withLeader) await reap();
    }
    expect((await builds.brief()).acquired).toBe('sha1 acquired');
    expect(clock.nowMs - from).toBeLessThanOrEqual(1.2 * ttlMs);
  });
});

it('a leader alone heals what nobody calls, and then has nothing to do', async () => {
  // What other tests left would be due as well.
  await db.query('delete from signalbox.merge_requests');
  await db.query('delete from signalbox.merge_queues');
  await heldBy(3);
  await builds.release(3, 'failure');
  await clock.pass(ttlMs + 1);
  expect(await reap()).toBe(3);
  expect(await builds.brief()).toEqual({ acquired: null, known: [] });

  await heldBy(1);
  await clock.pass(holdTtlMs);
  expect(await reap()).toBe(2);
  expect(await builds.brief()).toEqual({ acquired: null, known: [] });

  // Nobody is in anybody's way: kept for three ttls.
  await builds.polls(1);
  await clock.pass(3 * ttlMs - 1000);
  expect(await reap()).toBe(0);
  await clock.pass(1001);
  expect(await reap()).toBe(1);
  expect(await reap()).toBe(0);
  const { rows } = await db.query('select due_at from signalbox.merge_queues where queue = $1', [builds.id.name]);
  expect(rows).toEqual([{ due_at: null }]);
});

it('W2: the holder that asks again gets its lease again by request id or token, and by nothing else', async () => {
  const token = await heldBy(2);
  expect(tokenOf(await builds.poll(2, { requestId: 'attempt of 2' }))).toBe(token);
  expect(tokenOf(await builds.poll(2, { fencingToken: token }))).toBe(token);
  expect(outcomeOf(await builds.poll(2))).toBe('status_mismatch');
  expect(outcomeOf(await builds.poll(2, { requestId: 'another attempt' }))).toBe('status_mismatch');
  expect(outcomeOf(await builds.poll(2, { fencingToken: token + 1 }))).toBe('token_mismatch');
});

describe('an acquire with the token of a lease that is over', () => {
  it.each(['failure', 'cancelled'] as const)(
    'that ended with %s is told so, and registers nothing',
    async (outcome) => {
      const token = await heldBy(1);
      await builds.release(1, outcome);
      expect(await builds.poll(1, { fencingToken: token })).toMatchObject({ refusal: 'lease_lost', reason: outcome });
      expect(await builds.brief()).toEqual({ acquired: null, known: [] });
      expect(await builds.polls(1)).toEqual(['pending']);
      // Also while it waits for the next one, and has that.
      expect(await builds.poll(1, { fencingToken: token })).toMatchObject({ refusal: 'lease_lost', reason: outcome });
      await clock.pass(windowMs);
      expect(await builds.polls(1)).toEqual(['acquired']);
      expect(await builds.poll(1, { fencingToken: token })).toMatchObject({ refusal: 'lease_lost', reason: outcome });
    },
  );

  it('that succeeded is told that it is completed, long after too', async () => {
    const token = await heldBy(1);
    await builds.release(1, 'success');
    const again = async () => outcomeOf(await builds.poll(1, { fencingToken: token }));
    expect(await again()).toBe('completed');
    await builds.poll(2);
    expect(await again()).toBe('completed');
    expect((await builds.brief()).known).toEqual(['sha2 pending']);
  });

  it('that expired or was cleared is told so, also while another holds', async () => {
    const token = await heldBy(2);
    await clock.pass(holdTtlMs - 1);
    await builds.polls(1);
    await clock.pass(1);
    expect(await builds.polls(1)).toEqual(['acquired']);
    expect(await builds.poll(2, { fencingToken: token })).toMatchObject({ refusal: 'lease_lost', reason: 'expired' });
    expect((await builds.brief()).acquired).toBe('sha1 acquired');
    await builds.clear('ops');
    const next = await heldBy(3);
    await builds.clear('ops');
    expect(await builds.poll(3, { fencingToken: next })).toMatchObject({ refusal: 'lease_lost', reason: 'cleared' });
    expect(await builds.brief()).toEqual({ acquired: null, known: [] });
  });

  it('that nobody knows of is refused, and registers nothing', async () => {
    expect(outcomeOf(await builds.poll(1, { fencingToken: 7 }))).toBe('token_mismatch');
    expect(await builds.brief()).toEqual({ acquired: null, known: [] });
  });
});

describe('W10: a release again with the token', () => {
  it.each(['success', 'failure', 'cancelled'] as const)(
    'says of %s what the first said, while others are told and long after',
    async (outcome) => {
      const token = await heldBy(2);
      const again = async () => outcomeOf(await builds.release(2, outcome, { fencingToken: token }));
      const first = await again();
      expect(first).toBe(outcome === 'success' ? 'completed' : outcome);
      expect([await again(), await again()]).toEqual([first, first]);
      await builds.poll(1);
      expect(await again()).toBe(first);
      await builds.release(1, 'failure');
      await clock.pass(windowMs);
      await builds.poll(7);
      await clock.pass(windowMs);
      expect(await builds.polls(7)).toEqual(['acquired']);
      // Somebody else holds now.
      expect(await again()).toBe(first);
      expect((await builds.brief()).acquired).toBe('sha7 acquired');
    },
  );

  it('is refused if it says something else, or has no token, and never touches the next lease of the build', async () => {
    const token = await heldBy(1);
    await builds.release(1, 'failure', { fencingToken: token });
    expect(await builds.release(1, 'success', { fencingToken: token })).toMatchObject({
      refusal: 'ended_otherwise',
      reason: 'failure',
    });
    expect(outcomeOf(await builds.release(1, 'failure'))).toBe('nothing_held');
    const next = await heldBy(1);
    expect(next).toBeGreaterThan(token);
    expect(outcomeOf(await builds.release(1, 'failure', { fencingToken: token }))).toBe('failure');
    expect((await builds.brief()).acquired).toBe('sha1 acquired');
  });

  it('of an expired lease says so', async () => {
    const token = await heldBy(1);
    await clock.pass(holdTtlMs);
    await reap();
    expect(await builds.release(1, 'success', { fencingToken: token })).toMatchObject({
      refusal: 'ended_otherwise',
      reason: 'expired',
    });
    expect(await builds.renew(1, token)).toMatchObject({ refusal: 'lease_lost', reason: 'expired' });
  });
});

it('W11: cancelled is handed down like a failure', async () => {
  await heldBy(3);
  expect(outcomeOf(await builds.release(3, 'cancelled'))).toBe('cancelled');
  expect(await builds.polls(9, 1, 2)).toEqual(['lease_taken', 'pending', 'acquired']);
});
