import { expect, test } from 'vitest';
import type { Epoch, ReplicaId } from '../../src/protocol/ids.ts';
import { readMergeQueue, saveMergeQueue } from '../../src/store/merge-queues.ts';
import { openRacer, sqlStateOf } from '../support/blocked.ts';
import { freshDatabase } from '../support/database.ts';
import { oneOf, rowsOf } from '../support/sql-verbs.ts';
import { aGate } from './support/gate.ts';
import { Builds, aMergeQueue, openReplica, outcomeOf, tokenOf, waitOf } from './support/service.ts';
import { stopClock } from './support/virtual-clock.ts';
import { atOnce, aRace, grantsOf, untilBlocked } from './support/race.ts';

test('of two decisions on one version one is written, the other is made again', async () => {
  await using race = await aRace();
  await race.quick.polls(9);
  await race.quick.release(9, 'failure');
  const stands = race.gate.stopBefore('save_merge_queue');
  const slow = race.slow.poll(1);
  await stands;
  expect(outcomeOf(await race.quick.poll(2))).toBe('acquired');
  race.gate.open();
  expect(outcomeOf(await slow)).toBe('lease_taken');
  expect(race.gate.count('read_merge_queue')).toBe(2);
  expect(await grantsOf(race.db)).toEqual(['sha2 acquired']);
});

test('the first use of a merge queue by two replicas at once makes one queue and one holder', async () => {
  await using race = await aRace();
  const stands = race.gate.stopBefore('save_merge_queue');
  const slow = race.slow.poll(2);
  await stands;
  expect(outcomeOf(await race.quick.poll(1))).toBe('acquired');
  race.gate.open();
  expect(outcomeOf(await slow)).toBe('lease_taken');
  expect(await oneOf(race.db, 'select count(*)::int as queues from signalbox.merge_queues')).toEqual({ queues: 1 });
});

test('two writes that wait for the lock of the row: the first is written, the second decides again', async () => {
  await using race = await aRace();
  await race.quick.polls(9);
  await race.quick.release(9, 'failure');
  const keeper = await openRacer(race.db);
  await keeper.client.query('begin');
  await keeper.client.query('select from signalbox.merge_queues for update');
  const answers = [race.slow.poll(1), race.quick.poll(2)];
  await untilBlocked(race.db, 2);
  await keeper.client.query('commit');
  expect((await Promise.all(answers)).map(outcomeOf).toSorted()).toEqual(['acquired', 'lease_taken']);
  expect(await grantsOf(race.db)).toHaveLength(1);
});

test('a lock that is not to be had in time: overloaded, and nothing was done', async () => {
  await using race = await aRace();
  await race.db.query(
    `alter function signalbox_v1.save_merge_queue(text, bigint, bigint, jsonb, text, bigint) set lock_timeout = '100ms'`,
  );
  await race.quick.polls(9);
  await race.quick.release(9, 'failure');
  const keeper = await openRacer(race.db);
  await keeper.client.query('begin');
  await keeper.client.query('select from signalbox.merge_queues for update');
  await expect(race.quick.poll(1)).rejects.toMatchObject({ code: 'overloaded' });
  await keeper.client.query('commit');
  expect(await grantsOf(race.db)).toEqual([]);
  expect(outcomeOf(await race.quick.poll(1))).toBe('acquired');
});

test('whoever others beat each time is overloaded after a while, and nothing was done', async () => {
  await using db = await freshDatabase();
  const settings = { expected_count: 10_000 };
  await using other = openReplica(db, { settings });
  const rival = new Builds([other]);
  let reads = 0;
  await using replica = openReplica(db, {
    settings,
    decideWithinMs: 1000,
    intercept: async ({ sql }, run) => {
      const rows = await run();
      if (sql.includes('read_merge_queue')) await rival.poll(++reads + 1);
      return rows;
    },
  });
  await expect(new Builds([replica]).poll(1)).rejects.toMatchObject({ code: 'overloaded' });
  expect(reads).toBeGreaterThan(1);
  expect((await rival.brief()).known).not.toContain('sha1 pending');
  expect(replica.desk.pending).toBe(0);
});

test('more calls than may wait are overloaded at once, and the others are answered', async () => {
  await using db = await freshDatabase();
  const gate = aGate();
  await using replica = openReplica(db, { pendingMax: 2, intercept: gate.intercept });
  const builds = new Builds([replica]);
  const stands = gate.stopBefore('read_merge_queue');
  const waiting = [builds.poll(1), builds.poll(2)];
  await stands;
  await expect(builds.poll(3)).rejects.toMatchObject({ code: 'overloaded' });
  gate.open();
  expect((await Promise.all(waiting)).map(outcomeOf)).toEqual(['pending', 'pending']);
  expect(outcomeOf(await builds.poll(3))).toBe('pending');
});

test.each([
  [4999, 1],
  [5000, 2],
])('a decision that is %i ms old when it is written takes %i reads', async (ageMs, reads) => {
  await using race = await aRace();
  const clock = await stopClock(race.db);
  await race.quick.polls(9);
  await race.quick.release(9, 'failure');
  const stands = race.gate.stopBefore('save_merge_queue');
  const slow = race.slow.poll(1);
  await stands;
  await clock.pass(ageMs);
  race.gate.open();
  const answer = await slow;
  expect(answer).toMatchObject({
    kind: 'request',
    grant: { acquiredAtMs: reads === 2 ? clock.nowMs : clock.nowMs - ageMs },
  });
  expect(race.gate.count('read_merge_queue')).toBe(reads);
});

test('a decision that is too old makes no merge queue either', async () => {
  await using db = await freshDatabase();
  await using replica = openReplica(db);
  const { owner, repo, baseRef, name } = aMergeQueue();
  const { nowMs } = await readMergeQueue(replica.database, name, 'contended');
  const change = {
    owner,
    repo,
    base_ref: baseRef,
    settings: { ...(await replica.queues.show(aMergeQueue()))?.settings } as never,
    window_started_at_ms: nowMs,
    fencing_token: 0,
    due_at_ms: null,
    has_news: false,
    requests: [],
    events: [],
    ended: [],
  };
  const save = (decidedAtMs: number) =>
    saveMergeQueue(replica.database, name, change, { version: 0, lane: 'contended', decidedAtMs });
  expect(await save(nowMs - 5001)).toBe(false);
  expect(await rowsOf(db, 'select from signalbox.merge_queues')).toHaveLength(0);
  expect(await save(nowMs)).toBe(true);
});

test('settings that change in the middle of a decision are honoured by it', async () => {
  await using race = await aRace();
  await race.quick.polls(9);
  await race.quick.release(9, 'failure');
  const stands = race.gate.stopBefore('save_merge_queue');
  const slow = race.slow.poll(1);
  await stands;
  await race.quickReplica.queues.configure(
    race.quick.id,
    { expected_count: 2, stabilisation_ms: 60_000 },
    { ifVersion: undefined, actor: undefined },
  );
  race.gate.open();
  expect(waitOf(await slow).waitingFor).toBe('stabilisation');
  expect(await grantsOf(race.db)).toEqual([]);
});

test('after a failover that lost a write, what was decided on that write is decided again', async () => {
  await using race = await aRace();
  await race.quick.polls(9);
  await race.quick.release(9, 'failure');
  const stands = race.gate.stopBefore('save_merge_queue');
  const slow = race.slow.poll(1);
  await stands;
  // The newest write is gone, and somebody else writes in its place.
  await race.db.query('update signalbox.merge_queues set version = version - 1');
  expect(outcomeOf(await race.quick.poll(2))).toBe('acquired');
  race.gate.open();
  expect(outcomeOf(await slow)).toBe('lease_taken');
  expect(await grantsOf(race.db)).toEqual(['sha2 acquired']);
});

test('a tick of a leader whose term is over writes nothing', async () => {
  await using race = await aRace();
  const clock = await stopClock(race.db);
  await race.quick.poll(1, { holdTtlMs: 1000 });
  await clock.pass(1000);
  const { epoch } = await oneOf<{ epoch: number }>(
    race.db,
    `select epoch::int as epoch from signalbox_v1.campaign('old:1:0', 1000)`,
  );
  const term = { replicaId: 'old:1:0' as ReplicaId, epoch: epoch as Epoch };
  await clock.pass(1001);
  await race.db.query(`select signalbox_v1.campaign('new:1:0', 1000000)`);
  const tick = () => race.quickReplica.desk.tick(race.quick.id, term);
  expect(await sqlStateOf(tick())).toBe('SB001');
  expect(await grantsOf(race.db)).toEqual(['sha1 acquired']);
  const { epoch: newer } = await oneOf<{ epoch: number }>(race.db, 'select epoch::int from signalbox_v1.leader');
  const events = await race.quickReplica.desk.tick(race.quick.id, {
    replicaId: 'new:1:0' as ReplicaId,
    epoch: newer as Epoch,
  });
  expect(events.map(({ type }) => type)).toEqual(['ended', 'opened']);
  expect(await grantsOf(race.db)).toEqual([]);
});

test('a tick that somebody wrote before leaves it to the next round', async () => {
  await using race = await aRace();
  const clock = await stopClock(race.db);
  await race.quick.poll(1, { holdTtlMs: 1000, requestId: 'r' });
  await clock.pass(1000);
  await race.db.query(`select signalbox_v1.campaign('leader:1:0', 100000)`);
  const term = { replicaId: 'leader:1:0' as ReplicaId, epoch: 1 as Epoch };
  const gate = aGate();
  await using leader = openReplica(race.db, { settings: atOnce, intercept: gate.intercept });
  const stands = gate.stopBefore('save_merge_queue');
  const ticked = leader.desk.tick(race.quick.id, term);
  await stands;
  // The holder is heard before the leader's write.
  expect(outcomeOf(await race.quick.poll(1, { requestId: 'r' }))).toBe('acquired');
  gate.open();
  expect(await ticked).toEqual([]);
  expect(await grantsOf(race.db)).toEqual(['sha1 acquired']);
});

test('the index refuses a second grant, whatever a program believes', async () => {
  await using race = await aRace();
  await race.quick.poll(1);
  const grant = `insert into signalbox.merge_requests (queue, head_sha, head_ref, priority, status, registered_at,
    last_seen_at, fencing_token, acquired_at, expires_at, ended_at, is_known)
    values ($1, 'other', 'ref', 1, $2, now(), now(), 1, now(), now(), $3, true)`;
  for (const [status, endedAt] of [
    ['acquired', null],
    ['failure', '2026-01-01'],
    ['completed', '2026-01-01'],
  ])
    expect(await sqlStateOf(race.db.query(grant, [race.quick.id.name, status, endedAt]))).toBe('23505');
  const { id } = race.quick;
  const stored = await readMergeQueue(race.quickReplica.database, id.name, 'contended');
  const [holder] = stored.requests;
  if (holder === undefined || stored.queue === null) throw new Error('nobody holds');
  const state = await sqlStateOf(
    saveMergeQueue(
      race.quickReplica.database,
      id.name,
      {
        owner: id.owner,
        repo: id.repo,
        base_ref: id.baseRef,
        settings: stored.queue.settings,
        window_started_at_ms: stored.nowMs,
        fencing_token: 0,
        due_at_ms: null,
        has_news: false,
        requests: [holder, { ...holder, head_sha: 'other' }],
        events: [],
        ended: [],
      },
      { version: stored.queue.version, lane: 'contended', decidedAtMs: stored.nowMs },
    ),
  );
  expect(state).toBe('23505');
  expect(await grantsOf(race.db)).toEqual(['sha1 acquired']);
});

test('a grant whose answer was lost is had again with the same request id, and not given to another', async () => {
  await using race = await aRace();
  race.gate.fail('save_merge_queue', 'after');
  await expect(race.slow.poll(1, { requestId: 'attempt' })).rejects.toBeDefined();
  expect(await race.quick.polls(2)).toEqual(['lease_taken']);
  const again = await race.quick.poll(1, { requestId: 'attempt' });
  expect(outcomeOf(again)).toBe('acquired');
  race.gate.fail('save_merge_queue', 'before');
  await expect(race.slow.release(1, 'failure', { fencingToken: tokenOf(again) })).rejects.toBeDefined();
  expect(await grantsOf(race.db)).toEqual(['sha1 acquired']);
});
