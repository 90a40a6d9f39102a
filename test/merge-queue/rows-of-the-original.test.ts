import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type TestDatabase, freshDatabase } from '../support/database.ts';
import { Builds, aMergeQueue, openReplica, outcomeOf, stackOf, twoReplicas } from './support/service.ts';
import { type VirtualClock, stopClock } from './support/virtual-clock.ts';

/** Section 9 of the specification of mq-lease-service, through two replicas in turn. */

let db: TestDatabase;
let clock: VirtualClock;
let service: ReturnType<typeof twoReplicas>;
let builds: Builds;
let queues = 0;

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

const windowMs = 30_000;

/** 1 … n - 1 wait, n has the lease. */
async function heldBy(n: number): Promise<void> {
  for (let build = 1; build <= n; build++) expect(outcomeOf(await builds.poll(build))).not.toBe('lease_taken');
  if (n < 4) {
    await clock.pass(windowMs);
    expect(outcomeOf(await builds.poll(n))).toBe('acquired');
  }
}

describe('of section 9', () => {
  it('E1: the list has an empty merge queue as it was set', async () => {
    await builds.next().configure(builds.id, {}, { ifVersion: undefined, actor: undefined });
    const [shown] = await builds.next().list(builds.id.name);
    expect(shown).toMatchObject({
      id: builds.id,
      acquired: null,
      known: [],
      settings: { stabilisation_ms: 30_000, ttl_ms: 200_000, expected_count: 4, delay_count: 0 },
    });
  });

  it('E2, E5: list and show have the known by ascending priority, and the stack on the holder alone', async () => {
    await heldBy(4);
    const [listed] = await builds.next().list(builds.id.name);
    for (const shown of [listed, await builds.show(), await builds.show()]) {
      expect(shown?.known.map(({ request }) => `${request.headSha} ${request.status}`)).toEqual([
        'sha1 pending',
        'sha2 pending',
        'sha3 pending',
        'sha4 acquired',
      ]);
      expect(shown?.known.map(({ stackedPullRequests }) => stackedPullRequests)).toEqual([
        null,
        null,
        null,
        [1, 2, 3, 4],
      ]);
      expect(shown?.acquired).toMatchObject({ request: { headSha: 'sha4' }, stackedPullRequests: [1, 2, 3, 4] });
    }
  });

  it('E3, E6, E10, E17: show, clear, acquire and release of an unknown one, where none is made on first use', async () => {
    await using replica = openReplica(db, { autoCreate: false });
    const { queues: verbs } = replica;
    const context = { receivedAtMs: performance.now(), signal: new AbortController().signal };
    const call = { headSha: 's', headRef: 'gh-readonly-queue/main/pr-1-a', priority: 1, fencingToken: null };
    const unknown = [
      await verbs.show(builds.id),
      await verbs.clear(builds.id, undefined),
      await verbs.acquire(builds.id, { ...call, requestId: null, holdTtlMs: null, waitMs: 0 }, context),
      await verbs.release(builds.id, { ...call, outcome: 'success' }, context),
      await verbs.renew(builds.id, { headSha: 's', fencingToken: 1 }, context),
    ];
    expect(unknown).toEqual([undefined, undefined, undefined, undefined, undefined]);
    expect((await db.query('select from signalbox.merge_queues where queue = $1', [builds.id.name])).rowCount).toBe(0);
  });

  it('E4: show of an unused one is empty', async () => {
    expect(await builds.brief()).toEqual({ acquired: null, known: [] });
  });

  it('E7, E8, E9: clear empties it and begins its window anew, on every replica', async () => {
    await heldBy(2);
    await clock.pass(1000);
    const cleared = await builds.clear();
    expect(cleared).toMatchObject({ acquired: null, known: [], lastUpdatedAtMs: clock.nowMs });
    await using reloaded = openReplica(db);
    for (const shown of [await builds.show(), await builds.show(), await reloaded.queues.show(builds.id)])
      expect(shown).toMatchObject({ acquired: null, known: [], lastUpdatedAtMs: clock.nowMs });
  });

  it('E11: one that is the highest, with one still to come, waits', async () => {
    expect(await builds.polls(1, 2, 3)).toEqual(['pending', 'pending', 'pending']);
  });

  it('E12: the one that completes the count and is the highest gets the lease', async () => {
    expect(await builds.polls(1, 2, 3)).toEqual(['pending', 'pending', 'pending']);
    const fourth = await builds.poll(4);
    expect([outcomeOf(fourth), stackOf(fourth)]).toEqual(['acquired', [1, 2, 3, 4]]);
  });

  it('E13: one that polls when the window is over gets the lease', async () => {
    expect(await builds.polls(1)).toEqual(['pending']);
    await clock.pass(windowMs + 1000);
    const answer = await builds.poll(1);
    expect([outcomeOf(answer), stackOf(answer)]).toEqual(['acquired', [1]]);
  });

  it('E14: a newcomer is refused while it is held', async () => {
    await heldBy(2);
    expect(await builds.polls(3, 3)).toEqual(['lease_taken', 'lease_taken']);
  });

  it('E15: a registered one is told completed after the success of the holder', async () => {
    await heldBy(2);
    await builds.release(2, 'success');
    expect(await builds.polls(1)).toEqual(['completed']);
  });

  it('E16: a registered one is pending while it is held', async () => {
    await heldBy(2);
    expect(await builds.polls(1, 1)).toEqual(['pending', 'pending']);
  });

  it('E18: a release where nothing is held', async () => {
    expect(outcomeOf(await builds.release(1, 'success'))).toBe('nothing_held');
    await builds.poll(1);
    expect(outcomeOf(await builds.release(1, 'success'))).toBe('nothing_held');
  });

  it('E19: a release by another one than the holder', async () => {
    await heldBy(2);
    expect(outcomeOf(await builds.release(1, 'success'))).toBe('not_the_holder');
    expect((await builds.brief()).acquired).toBe('sha2 acquired');
  });

  it.each([
    ['E20', 'success', 'completed'],
    ['E21', 'failure', 'failure'],
  ] as const)('%s: the holder releases with %s and is answered %s, without a stack', async (_row, outcome, status) => {
    await heldBy(2);
    const answer = await builds.release(2, outcome);
    expect([outcomeOf(answer), stackOf(answer)]).toEqual([status, null]);
    expect((await builds.brief()).acquired).toBe(`sha2 ${status}`);
  });

  it('E22: two builds, and the higher one succeeds', async () => {
    await builds.polls(1, 2);
    await clock.pass(windowMs);
    expect(await builds.polls(1)).toEqual(['pending']);
    const higher = await builds.poll(2);
    expect([outcomeOf(higher), stackOf(higher)]).toEqual(['acquired', [1, 2]]);
    expect(outcomeOf(await builds.release(2, 'success'))).toBe('completed');
    expect(await builds.polls(1)).toEqual(['completed']);
  });

  it('E23: two builds, and the higher one fails: the other has it at once', async () => {
    await builds.polls(1, 2);
    await clock.pass(windowMs);
    expect(await builds.polls(1, 2)).toEqual(['pending', 'acquired']);
    expect(outcomeOf(await builds.release(2, 'failure'))).toBe('failure');
    const heir = await builds.poll(1);
    expect([outcomeOf(heir), stackOf(heir)]).toEqual(['acquired', [1]]);
  });

  it('E24: the count reached one by one, and the highest succeeds: all others are completed', async () => {
    expect(await builds.polls(1, 2, 3, 4)).toEqual(['pending', 'pending', 'pending', 'acquired']);
    expect(outcomeOf(await builds.release(4, 'success'))).toBe('completed');
    expect(await builds.polls(1, 2, 3)).toEqual(['completed', 'completed', 'completed']);
  });

  it('E25: the count reached one by one, and the highest fails: the next highest gets it on its own poll', async () => {
    expect(await builds.polls(1, 2, 3, 4)).toEqual(['pending', 'pending', 'pending', 'acquired']);
    expect(outcomeOf(await builds.release(4, 'failure'))).toBe('failure');
    expect(await builds.polls(1, 2, 3)).toEqual(['pending', 'pending', 'acquired']);
  });
});
