import { afterAll, beforeAll, expect, test } from 'vitest';
import type { MergeAnswer } from '../../src/protocol/merge-queue.ts';
import { type TestDatabase, freshDatabase } from '../support/database.ts';
import { oneOf, rowsOf } from '../support/sql-verbs.ts';
import { randomNumbers } from '../merge-queue/support/random-numbers.ts';
import { Builds, type MergeReplica, aMergeQueue, openReplica, tokenOf } from '../merge-queue/support/service.ts';
import { type VirtualClock, stopClock } from '../merge-queue/support/virtual-clock.ts';

let db: TestDatabase;
let clock: VirtualClock;
let replica: MergeReplica;

beforeAll(async () => {
  db = await freshDatabase();
  clock = await stopClock(db);
  replica = openReplica(db);
});
afterAll(async () => {
  await replica[Symbol.asyncDispose]();
  await db[Symbol.asyncDispose]();
});

interface Waiting {
  readonly head_sha: string;
  readonly position: number;
  readonly waiting_for: string;
  readonly delays_left: number;
  readonly mode: string;
  readonly window_remaining_ms: number | null;
  readonly registered: number;
}

async function lineOf(queue: string): Promise<readonly Waiting[]> {
  return rowsOf<Waiting & Record<string, unknown>>(
    db,
    `select r.head_sha, r.position::int, r.waiting_for, r.delays_left, q.mode, q.window_remaining_ms::int, q.pending::int as registered
     from signalbox_v1.merge_requests r join signalbox_v1.merge_queues q using (queue)
     where queue = $1 and r.status = 'pending' order by r.position`,
    [queue],
  );
}

function expectAgreement(answer: MergeAnswer, line: readonly Waiting[], story: string): void {
  if (answer.kind !== 'request' || answer.wait === null) return;
  const { wait, request } = answer;
  const row = line.find(({ head_sha: sha }) => sha === request.headSha);
  expect(
    {
      position: row?.position,
      waiting_for: row?.waiting_for,
      delays_left: row?.delays_left,
      registered: row?.registered,
      window_remaining_ms: wait.waitingFor === 'stabilisation' ? row?.window_remaining_ms : null,
    },
    story,
  ).toEqual({
    position: wait.position,
    waiting_for: wait.waitingFor,
    delays_left: wait.delaysLeft,
    registered: wait.registered,
    window_remaining_ms: wait.windowRemainingMs,
  });
}

test('the views say of every build that waits what its client was answered', async () => {
  for (let seed = 1; seed <= 40; seed++) {
    const random = randomNumbers(seed);
    const builds = new Builds([replica], aMergeQueue(`seed${seed}`));
    await replica.queues.configure(
      builds.id,
      {
        stabilisation_ms: random.oneOf([0, 1000, 5000]),
        ttl_ms: 8000,
        expected_count: random.between(1, 5),
        delay_count: random.between(0, 2),
        success_completes: random.oneOf(['all', 'contained']),
      },
      { ifVersion: undefined, actor: undefined },
    );
    const holders = new Map<number, number>();
    const story: string[] = [`seed ${seed}`];
    for (let round = 0; round < 25; round++) {
      await clock.pass(random.between(0, 1500));
      const build = random.between(1, 6);
      const token = holders.get(build);
      if (token !== undefined && random.chance(0.5)) {
        await builds.release(build, random.oneOf(['success', 'failure', 'cancelled']), { fencingToken: token });
        holders.delete(build);
        story.push(`${build} releases`);
      } else {
        const answer = await builds.poll(build, { priority: random.chance(0.8) ? (build % 4) + 1 : 5 });
        story.push(`${build} polls`);
        if (answer.kind === 'request' && answer.grant !== null) holders.set(build, tokenOf(answer));
        expectAgreement(answer, await lineOf(builds.id.name), story.join(', '));
      }
    }
  }
}, 60_000);

test('the views show who holds, for how long, and what is left of it', async () => {
  const builds = new Builds([replica], aMergeQueue('holder'));
  const queue = builds.id.name;
  await builds.polls(1, 2, 3);
  await clock.pass(1000);
  const token = tokenOf(await builds.poll(4, { requestId: 'run' }));
  await clock.pass(2000);
  const read = () =>
    oneOf(
      db,
      `select mode, holder_sha, holder_status, holder_priority::int, fencing_token::text, held_ms::int, pending::int, highest_priority::int,
         oldest_wait_ms::int, window_remaining_ms, ended_at is not null as ended from signalbox_v1.merge_queues where queue = $1`,
      [queue],
    );
  const held = {
    mode: 'held',
    holder_sha: 'sha4',
    holder_status: 'acquired',
    holder_priority: 4,
    fencing_token: String(token),
    held_ms: 2000,
    pending: 3,
    highest_priority: 3,
    oldest_wait_ms: 3000,
    window_remaining_ms: null,
    ended: false,
  };
  expect(await read()).toEqual(held);
  await builds.release(4, 'failure', { fencingToken: token });
  await clock.pass(500);
  expect(await read()).toMatchObject({ mode: 'inheriting', holder_status: 'failure', held_ms: 2000, ended: true });
  await builds.polls(3);
  await builds.release(3, 'success');
  expect(await read()).toMatchObject({ mode: 'draining', holder_sha: 'sha3', holder_status: 'completed', pending: 2 });
  await builds.polls(1, 2, 5);
  expect(await read()).toMatchObject({
    mode: 'open',
    holder_sha: null,
    held_ms: null,
    pending: 1,
    window_remaining_ms: '30000',
  });
  const detail = await replica.queues.detail(builds.id);
  expect(detail).toMatchObject({ mode: 'open', window_remaining_ms: 30_000, auto_created: true });
  expect(detail.requests).toMatchObject([
    { head_sha: 'sha5', status: 'pending', position: 1, waiting_for: 'stabilisation', fencing_token: null },
  ]);
});

interface Told {
  readonly type: string;
  readonly claim_id: string | null;
  readonly data: Readonly<Record<string, unknown>>;
}

test('feed and history have a whole life, row by row, in order', async () => {
  const builds = new Builds([replica], aMergeQueue('life'));
  const queue = builds.id.name;
  const beganAtMs = clock.nowMs;
  for (const build of [1, 2, 3]) await builds.poll(build, { requestId: `run ${build}` });
  await builds.poll(1, { priority: 2, requestId: 'run 1' });
  const first = tokenOf(await builds.poll(4, { requestId: 'run 4' }));
  await clock.pass(1000);
  await builds.release(4, 'failure', { fencingToken: first });
  await builds.poll(3, { requestId: 'run 3' });
  const second = tokenOf(await builds.poll(3, { requestId: 'run 3' }));
  await clock.pass(1000);
  await builds.release(3, 'success', { fencingToken: second });
  await builds.poll(2, { requestId: 'run 2' });
  // Build 1 never asks again; its ttl brings it out, and another one in.
  await clock.pass(200_001);
  await builds.poll(5, { holdTtlMs: 500 });
  await clock.pass(30_000);
  const third = tokenOf(await builds.poll(5));
  await clock.pass(500);
  await builds.poll(6);
  await clock.pass(30_000);
  const fourth = tokenOf(await builds.poll(6, { holdTtlMs: 5000 }));
  await builds.poll(6);
  await builds.poll(7);
  await builds.release(6, 'cancelled', { fencingToken: fourth });
  for (const build of [7, 8]) await builds.poll(build);
  await clock.pass(30_000);
  const fifth = tokenOf(await builds.poll(8));
  await builds.clear('ops');

  const feed = await rowsOf<Told & Record<string, unknown>>(
    db,
    'select type, claim_id, data from signalbox.events where queue = $1 order by id',
    [queue],
  );
  const about = (build: number, more: object = {}, priority = build) => ({
    head_sha: `sha${build}`,
    head_ref: `gh-readonly-queue/main/pr-${build}-abcdef${build}`,
    priority,
    ...more,
  });
  const told = (type: string, build: number, more?: object, priority?: number) => ({
    type: `merge_request.${type}`,
    claim_id: `sha${build}`,
    data: about(build, more, priority),
  });
  const opened = { type: 'merge_queue.opened', claim_id: null, data: {} };
  expect(feed).toEqual([
    told('registered', 1),
    told('registered', 2),
    told('registered', 3),
    told('updated', 1, {}, 2),
    told('registered', 4),
    told('acquired', 4, { fencing_token: first, waited_ms: 0 }),
    told('failed', 4, { fencing_token: first }),
    told('acquired', 3, { fencing_token: second, waited_ms: 1000 }),
    told('succeeded', 3, { fencing_token: second, merged_batch_size: 3 }),
    told('completed', 2),
    told('evicted', 1, {}, 2),
    opened,
    told('registered', 5),
    told('acquired', 5, { fencing_token: third, waited_ms: 30_000 }),
    told('expired', 5, { fencing_token: third }),
    opened,
    told('registered', 6),
    told('acquired', 6, { fencing_token: fourth, waited_ms: 30_000 }),
    told('cancelled', 6, { fencing_token: fourth }),
    opened,
    told('registered', 7),
    told('registered', 8),
    told('acquired', 8, { fencing_token: fifth, waited_ms: 30_000 }),
    told('cleared', 7, { actor: 'ops' }),
    told('broken', 8, { fencing_token: fifth, actor: 'ops' }),
    opened,
  ]);

  const ended = await rowsOf<Record<string, unknown>>(
    db,
    `select claim_id, kind, holder, state, reason, outcome, final, fencing_token::text as token, priority, actor, metadata,
       (extract(epoch from enqueued_at) * 1000)::bigint - $2::bigint as registered,
       (extract(epoch from ended_at) * 1000)::bigint - $2::bigint as ended, waited_ms::int, held_ms::int
     from signalbox_v1.ended_claims where queue = $1 order by ended_at, fencing_token nulls first`,
    [queue, beganAtMs],
  );
  const brief = ended.map((row) => [
    row['claim_id'],
    row['holder'],
    row['state'],
    row['reason'],
    row['outcome'],
    row['token'],
    row['priority'],
    row['actor'],
    Number(row['registered']),
    Number(row['ended']),
    row['waited_ms'],
    row['held_ms'],
  ]);
  const ref = (build: number) => `gh-readonly-queue/main/pr-${build}-abcdef${build}`;
  expect(brief).toEqual([
    ['sha4', 'run 4', 'released', 'released', 'failure', String(first), 4, null, 0, 1000, 0, 1000],
    ['sha2', 'run 2', 'superseded', 'completed', null, null, 2, null, 0, 2000, 2000, null],
    ['sha3', 'run 3', 'released', 'released', 'success', String(second), 3, null, 0, 2000, 1000, 1000],
    ['sha1', 'run 1', 'expired', 'ttl', null, null, 2, null, 0, 202_001, 202_001, null],
    ['sha5', ref(5), 'expired', 'hold_ttl', 'expired', String(third), 5, null, 202_001, 232_501, 30_000, 500],
    ['sha6', ref(6), 'cancelled', 'cancelled', 'cancelled', String(fourth), 6, null, 232_501, 262_501, 30_000, 0],
    ['sha7', ref(7), 'broken', 'cleared', null, null, 7, 'ops', 262_501, 292_501, 30_000, null],
    ['sha8', ref(8), 'broken', 'cleared', null, String(fifth), 8, 'ops', 262_501, 292_501, 30_000, 0],
  ]);
  expect(new Set(ended.map(({ kind, final }) => `${String(kind)} ${String(final)}`))).toEqual(
    new Set(['merge_request true']),
  );
  expect(ended.find(({ claim_id: id }) => id === 'sha3')?.['metadata']).toEqual({
    head_ref: ref(3),
    merged_batch_size: 3,
  });
});

test('a head sha that is no name of a claim is in history as it is, and nameless in the feed', async () => {
  const builds = new Builds([replica], aMergeQueue('odd'));
  const headSha = `  ünï "sha" \\ ${'x'.repeat(900)}`;
  const call = { headSha, headRef: 'gh-readonly-queue/main/pr-1-a', priority: Number.MAX_SAFE_INTEGER };
  const context = { receivedAtMs: performance.now(), signal: new AbortController().signal };
  const acquire = () =>
    replica.queues.acquire(
      builds.id,
      { ...call, requestId: null, holdTtlMs: null, fencingToken: null, waitMs: 0 },
      context,
    );
  await acquire();
  await clock.pass(30_000);
  const answer = await acquire();
  if (answer === undefined) throw new Error('unknown');
  await replica.queues.release(builds.id, { ...call, outcome: 'failure', fencingToken: tokenOf(answer) }, context);
  const again = await replica.queues.release(
    builds.id,
    { ...call, outcome: 'failure', fencingToken: tokenOf(answer) },
    context,
  );
  expect(again).toMatchObject({ kind: 'request', request: { headSha, status: 'failure' } });
  expect(
    await rowsOf(db, 'select claim_id, priority from signalbox.history where queue = $1', [builds.id.name]),
  ).toEqual([{ claim_id: headSha, priority: 2_147_483_647 }]);
  const feed = await rowsOf<Told & Record<string, unknown>>(
    db,
    'select claim_id, data from signalbox.events where queue = $1 order by id limit 1',
    [builds.id.name],
  );
  expect(feed).toMatchObject([{ claim_id: null, data: { head_sha: headSha, priority: Number.MAX_SAFE_INTEGER } }]);
});
