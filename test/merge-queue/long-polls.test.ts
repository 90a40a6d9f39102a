import { describe, expect, test } from 'vitest';
import { MergeQueueWatch } from '../../src/merge-queue/news-watch.ts';
import { type TestDatabase, freshDatabase } from '../support/database.ts';
import { rowsOf } from '../support/sql-verbs.ts';
import { until } from '../support/until.ts';
import { aGate } from './support/gate.ts';
import {
  Builds,
  type MergeReplica,
  type ReplicaOptions,
  headShaOf,
  openReplica,
  outcomeOf,
  stackOf,
  tokenOf,
  waitOf,
} from './support/service.ts';

/** Alone, the next build has the lease at once; the ttl of 200 s lets a waiting call look again by itself only every 15 s. */
const atOnce = { expected_count: 1, stabilisation_ms: 0 } as const;
/** 1 waits and 2 has the lease as soon as both are there. */
const ofTwo = { expected_count: 2, stabilisation_ms: 600_000 } as const;
/** Far below those 15 s, far above a busy machine. */
const soonMs = 5000;

async function withReplicas(
  count: number,
  options: ReplicaOptions,
  work: (replicas: readonly MergeReplica[], db: TestDatabase) => Promise<void>,
): Promise<void> {
  await using db = await freshDatabase();
  const replicas = Array.from({ length: count }, () => openReplica(db, options));
  try {
    await work(replicas, db);
  } finally {
    for (const replica of replicas) await replica[Symbol.asyncDispose]();
  }
}

async function untilWaits({ room }: MergeReplica, count = 1): Promise<void> {
  await until(() => room.size === count, { what: `${count} calls wait` });
}

/** One call waits, and nothing that it asked is under way. */
async function untilDecided(replica: MergeReplica): Promise<void> {
  await untilWaits(replica);
  await until(() => replica.desk.pending === 0, { what: 'its call is decided' });
}

/** The answer, and how long it took from now on. */
async function timed<Answer>(answer: Promise<Answer>): Promise<{ answer: Answer; tookMs: number }> {
  const from = performance.now();
  return { answer: await answer, tookMs: performance.now() - from };
}

describe('a call that waits', () => {
  test.each([
    ['failure', 'acquired'],
    ['success', 'completed'],
  ] as const)('is answered at once when the holder reports %s on the same replica: %s', async (outcome, said) => {
    await withReplicas(1, { settings: ofTwo }, async ([replica]) => {
      if (replica === undefined) return;
      const builds = new Builds([replica]);
      await builds.poll(1);
      const token = tokenOf(await builds.poll(2));
      const answer = builds.poll(1, { waitMs: 60_000 });
      await untilWaits(replica);
      await builds.release(2, outcome, { fencingToken: token });
      const { answer: heard, tookMs } = await timed(answer);
      expect(outcomeOf(heard)).toBe(said);
      expect(tookMs).toBeLessThan(soonMs);
      expect(replica.room.size).toBe(0);
    });
  });

  test('finds by the watch within about a second what another replica did and nobody told', async () => {
    await withReplicas(2, { settings: ofTwo }, async ([here, there]) => {
      if (here === undefined || there === undefined) return;
      await using watch = new MergeQueueWatch({
        db: here.database,
        room: here.room,
        onError: (error) => {
          throw error;
        },
      });
      await watch.start();
      const elsewhere = new Builds([there]);
      await elsewhere.poll(1);
      await elsewhere.poll(2);
      const answer = new Builds([here]).poll(1, { waitMs: 60_000 });
      await untilWaits(here);
      await elsewhere.release(2, 'failure');
      const { answer: heard, tookMs } = await timed(answer);
      expect(outcomeOf(heard)).toBe('acquired');
      expect(tookMs).toBeLessThan(2500);
    });
  });

  test('the watch asks nothing while nobody waits, and for all that wait in one read', async () => {
    const gate = aGate();
    await withReplicas(1, { settings: ofTwo, intercept: gate.intercept }, async ([replica]) => {
      if (replica === undefined) return;
      let asked = 0;
      const counted = {
        query: (...[lane, statement]: Parameters<typeof replica.database.query>) => {
          asked++;
          return replica.database.query(lane, statement);
        },
      } as unknown as typeof replica.database;
      await using watch = new MergeQueueWatch({
        db: counted,
        room: replica.room,
        onError: () => undefined,
        everyMs: 10,
      });
      await watch.start();
      const builds = new Builds([replica]);
      await builds.poll(2);
      await builds.poll(1);
      expect(asked).toBe(0);
      const gone = new AbortController();
      const waiting = [3, 4, 5].map((build) => builds.poll(build, { waitMs: 60_000, signal: gone.signal }));
      await untilWaits(replica, 3);
      await until(() => asked > 3, { what: 'the watch looks' });
      gone.abort();
      // One whose call was not decided yet is dropped.
      await Promise.allSettled(waiting);
    });
  });

  test('is answered when the window ends', async () => {
    await withReplicas(1, { settings: { stabilisation_ms: 700, expected_count: 4 } }, async ([replica]) => {
      if (replica === undefined) return;
      const { answer, tookMs } = await timed(new Builds([replica]).poll(1, { waitMs: 60_000 }));
      expect([outcomeOf(answer), stackOf(answer)]).toEqual(['acquired', [1]]);
      expect(tookMs).toBeGreaterThan(600);
      expect(tookMs).toBeLessThan(soonMs);
    });
  });

  test('is answered when the one that completes the count registers: it is the highest', async () => {
    await withReplicas(1, { settings: ofTwo }, async ([replica]) => {
      if (replica === undefined) return;
      const builds = new Builds([replica]);
      const highest = builds.poll(2, { waitMs: 60_000 });
      await untilWaits(replica);
      expect(outcomeOf(await builds.poll(1))).toBe('pending');
      const { answer, tookMs } = await timed(highest);
      expect([outcomeOf(answer), stackOf(answer)]).toEqual(['acquired', [1, 2]]);
      expect(tookMs).toBeLessThan(soonMs);
    });
  });

  test('of a newcomer waits also while the lease is taken, and then registers', async () => {
    await withReplicas(1, { settings: atOnce }, async ([replica]) => {
      if (replica === undefined) return;
      const builds = new Builds([replica]);
      await builds.poll(1);
      const newcomer = builds.poll(2, { waitMs: 60_000 });
      await untilWaits(replica);
      expect((await builds.brief()).known).toEqual(['sha1 acquired']);
      await builds.release(1, 'success');
      const { answer, tookMs } = await timed(newcomer);
      expect(outcomeOf(answer)).toBe('acquired');
      expect(tookMs).toBeLessThan(soonMs);
    });
  });

  test('is answered with how things stand when its time is over', async () => {
    await withReplicas(1, { settings: ofTwo }, async ([replica]) => {
      if (replica === undefined) return;
      const { answer, tookMs } = await timed(new Builds([replica]).poll(1, { waitMs: 300 }));
      expect(waitOf(answer)).toMatchObject({ position: 1, waitingFor: 'stabilisation', registered: 1 });
      expect(answer).toMatchObject({ kind: 'request' });
      expect(tookMs).toBeGreaterThan(250);
      expect(tookMs).toBeLessThan(soonMs);
      expect(answer.kind === 'request' && answer.waitedMs).toBeGreaterThan(200);
    });
  });

  test('is heard all the while: it is not evicted though its ttl is much shorter than its wait', async () => {
    const settings = { ...ofTwo, ttl_ms: 2000, expected_count: 10 };
    await withReplicas(2, { settings }, async ([here, there], db) => {
      if (here === undefined || there === undefined) return;
      const waiting = new Builds([here]).poll(1, { waitMs: 5000 });
      await untilWaits(here);
      const other = new Builds([there]);
      // Each accepted call evicts whoever was silent.
      const isOver = async () => {
        await other.poll(2);
        return here.room.size === 0;
      };
      await until(isOver, { what: 'the wait is over' });
      expect(outcomeOf(await waiting)).toBe('pending');
      const evicted = await rowsOf(db, `select from signalbox.events where type = 'merge_request.evicted'`);
      expect(evicted).toHaveLength(0);
    });
  });

  test('uses one delay at most', async () => {
    await withReplicas(1, { settings: { ...atOnce, delay_count: 2 } }, async ([replica]) => {
      if (replica === undefined) return;
      const builds = new Builds([replica]);
      const first = await timed(builds.poll(1, { waitMs: 60_000 }));
      expect(waitOf(first.answer)).toMatchObject({ waitingFor: 'delay', delaysLeft: 1 });
      expect(first.tookMs).toBeLessThan(soonMs);
      expect(waitOf(await builds.poll(1, { waitMs: 60_000 })).delaysLeft).toBe(0);
      expect(outcomeOf(await builds.poll(1, { waitMs: 60_000 }))).toBe('acquired');
    });
  });

  test('whose client hangs up does not take the lease, and keeps its place for its ttl', async () => {
    await withReplicas(1, { settings: ofTwo }, async ([replica]) => {
      if (replica === undefined) return;
      const builds = new Builds([replica]);
      await builds.poll(1);
      await builds.poll(2);
      const client = new AbortController();
      const gone = builds.poll(1, { waitMs: 60_000, signal: client.signal });
      await untilDecided(replica);
      client.abort();
      expect(outcomeOf(await gone)).toBe('pending');
      await builds.release(2, 'failure');
      expect(await builds.brief()).toEqual({ acquired: 'sha2 failure', known: ['sha1 pending'] });
      expect(replica.room.size).toBe(0);
    });
  });

  test('is answered with how things stand when the replica stops, and so is every later one', async () => {
    await withReplicas(1, { settings: ofTwo }, async ([replica]) => {
      if (replica === undefined) return;
      const builds = new Builds([replica]);
      const waiting = builds.poll(1, { waitMs: 60_000 });
      await untilWaits(replica);
      replica.room.close();
      expect(waitOf(await waiting).position).toBe(1);
      const { answer, tookMs } = await timed(builds.poll(1, { waitMs: 60_000 }));
      expect(outcomeOf(answer)).toBe('pending');
      expect(tookMs).toBeLessThan(soonMs);
    });
  });

  test('is answered when the queue is cleared or changed: it registers anew, by the settings as they are then', async () => {
    await withReplicas(1, { settings: ofTwo }, async ([replica]) => {
      if (replica === undefined) return;
      const builds = new Builds([replica]);
      const waiting = builds.poll(1, { waitMs: 60_000 });
      await untilWaits(replica);
      await builds.clear('ops');
      await until(async () => (await builds.brief()).known.length === 1, { what: 'it registers again' });
      await replica.queues.configure(builds.id, { expected_count: 1 }, { ifVersion: undefined, actor: undefined });
      expect(outcomeOf(await waiting)).toBe('acquired');
    });
  });
});

describe('calls of one merge queue that come together', () => {
  test('32 polls make a read and a write or two, and each is answered for itself', async () => {
    const gate = aGate();
    await withReplicas(
      1,
      { settings: { ...ofTwo, expected_count: 40 }, intercept: gate.intercept },
      async ([replica]) => {
        if (replica === undefined) return;
        const builds = new Builds([replica]);
        const numbers = Array.from({ length: 32 }, (_, index) => index + 1);
        const answers = await Promise.all(numbers.map((build) => builds.poll(build)));
        expect(answers.map((answer) => answer.kind === 'request' && answer.request.headSha)).toEqual(
          numbers.map(headShaOf),
        );
        expect(gate.count('read_merge_queue')).toBeLessThanOrEqual(3);
        expect(gate.count('save_merge_queue')).toBeLessThanOrEqual(3);
        await Promise.all(numbers.map((build) => builds.poll(build)));
        expect(gate.count('read_merge_queue')).toBeLessThanOrEqual(6);
      },
    );
  });

  test('64 polls through two replicas that write over one another are all answered, once each', async () => {
    await withReplicas(2, { settings: { ...ofTwo, expected_count: 65 } }, async (replicas, db) => {
      const builds = new Builds(replicas);
      const numbers = Array.from({ length: 64 }, (_, index) => index + 1);
      for (let round = 0; round < 3; round++) {
        const answers = await Promise.all(numbers.map((build) => builds.poll(build)));
        expect(new Set(answers.map(outcomeOf))).toEqual(new Set(['pending']));
      }
      const registered = await rowsOf(db, `select from signalbox.events where type = 'merge_request.registered'`);
      expect(registered).toHaveLength(64);
      expect(outcomeOf(await builds.poll(65))).toBe('acquired');
      expect(stackOf(await builds.poll(65, { requestId: null, fencingToken: null }))).toBeNull();
      await builds.release(65, 'success');
      const told = await Promise.all(numbers.map((build) => builds.poll(build)));
      expect(new Set(told.map(outcomeOf))).toEqual(new Set(['completed']));
    });
  });

  test('32 that wait are woken by a release and make a few reads and writes together', async () => {
    const gate = aGate();
    await withReplicas(
      1,
      { settings: { ...ofTwo, expected_count: 33 }, intercept: gate.intercept },
      async ([replica]) => {
        if (replica === undefined) return;
        const builds = new Builds([replica]);
        const numbers = Array.from({ length: 32 }, (_, index) => index + 1);
        await Promise.all(numbers.map((build) => builds.poll(build)));
        expect(outcomeOf(await builds.poll(33))).toBe('acquired');
        const waiting = numbers.map((build) => builds.poll(build, { waitMs: 60_000 }));
        await untilWaits(replica, 32);
        await until(() => replica.desk.pending === 0, { what: 'all wait' });
        const [reads, writes] = [gate.count('read_merge_queue'), gate.count('save_merge_queue')];
        await builds.release(33, 'success');
        expect(new Set((await Promise.all(waiting)).map(outcomeOf))).toEqual(new Set(['completed']));
        expect(gate.count('read_merge_queue') - reads).toBeLessThanOrEqual(5);
        expect(gate.count('save_merge_queue') - writes).toBeLessThanOrEqual(5);
      },
    );
  });
});
