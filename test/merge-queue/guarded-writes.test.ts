import { expect, test } from 'vitest';
import { mergeQueueId, parseMergeQueueName, providerId } from '../../src/protocol/merge-queue.ts';
import { SignalboxError } from '../../src/protocol/errors.ts';
import type { Epoch, ReplicaId } from '../../src/protocol/ids.ts';
import { Database, type Lane } from '../../src/store/database.ts';
import { readMergeQueue, saveMergeQueue } from '../../src/store/merge-queues.ts';
import { openRacer, sqlStateOf } from '../support/blocked.ts';
import { type TestDatabase, freshDatabase } from '../support/database.ts';
import { oneOf, rowsOf } from '../support/sql-verbs.ts';
import { until } from '../support/until.ts';
import { type Gate, aGate } from './support/gate.ts';
import {
  Builds,
  type MergeReplica,
  type ReplicaOptions,
  aMergeQueue,
  openReplica,
  outcomeOf,
  tokenOf,
  waitOf,
} from './support/service.ts';
import { stopClock } from './support/virtual-clock.ts';

/** A build alone gets the lease at once. */
const atOnce = { expected_count: 1, stabilisation_ms: 0 } as const;

interface Race extends AsyncDisposable {
  readonly db: TestDatabase;
  /** Stops where the test says. */
  readonly slow: Builds;
  readonly gate: Gate;
  readonly quick: Builds;
  readonly quickReplica: MergeReplica;
}

async function aRace(options: ReplicaOptions = { settings: atOnce }): Promise<Race> {
  const db = await freshDatabase();
  const gate = aGate();
  const replicas = [openReplica(db, { ...options, intercept: gate.intercept }), openReplica(db, options)] as const;
  return {
    db,
    gate,
    slow: new Builds([replicas[0]]),
    quick: new Builds([replicas[1]]),
    quickReplica: replicas[1],
    [Symbol.asyncDispose]: async () => {
      gate.open();
      for (const replica of replicas) await replica[Symbol.asyncDispose]();
      await db[Symbol.asyncDispose]();
    },
  };
}

async function grantsOf(db: TestDatabase): Promise<string[]> {
  const rows = await rowsOf<{ grant: string }>(
    db,
    `select head_sha || ' ' || status as grant from signalbox.merge_requests
     where status not in ('pending', 'untold') order by 1`,
  );
  return rows.map(({ grant }) => grant);
}

async function untilBlocked(db: TestDatabase, count: number): Promise<void> {
  await until(
    async () =>
      (
        await rowsOf(
          db,
          `select from pg_stat_activity
           where datname = current_database() and wait_event_type = 'Lock' and query like '%save_merge_queue%'`,
        )
      ).length === count,
    { what: `${count} saves wait for a lock` },
  );
}

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

test('settings change live, both ways', async () => {
  await using race = await aRace({});
  const configure = (change: object) =>
    race.quickReplica.queues.configure(race.quick.id, change, { ifVersion: undefined, actor: undefined });
  await configure({ stabilisation_ms: 600_000, expected_count: 5 });
  expect(outcomeOf(await race.slow.poll(1))).toBe('pending');
  await configure({ expected_count: 1 });
  expect(outcomeOf(await race.slow.poll(1))).toBe('acquired');
  await configure({ require_token: true });
  expect(outcomeOf(await race.slow.release(1, 'success'))).toBe('token_required');
  await configure({ require_token: false, expected_count: 3 });
  expect(outcomeOf(await race.slow.release(1, 'success'))).toBe('completed');
  expect(outcomeOf(await race.slow.poll(2))).toBe('pending');
});

test('a merge queue nobody configured follows the defaults of the replica that is asked; a configured one does not', async () => {
  await using db = await freshDatabase();
  await using patient = openReplica(db, { settings: { expected_count: 4 } });
  await using prompt = openReplica(db, { settings: { ...atOnce, require_token: true } });
  const [slow, quick] = [new Builds([patient]), new Builds([prompt])];
  expect(outcomeOf(await slow.poll(1))).toBe('pending');
  const acquired = await quick.poll(1);
  expect(outcomeOf(acquired)).toBe('acquired');
  expect(outcomeOf(await quick.release(1, 'success'))).toBe('token_required');
  expect((await slow.show()).settings.expected_count).toBe(4);
  expect((await quick.show()).settings.expected_count).toBe(1);
  await slow.release(1, 'success');
  await patient.queues.configure(slow.id, {}, { ifVersion: undefined, actor: undefined });
  // As the last one who wrote had it.
  expect((await quick.show()).settings.expected_count).toBe(4);
  expect(outcomeOf(await quick.poll(2))).toBe('pending');
});

/** Of a merge queue made on first use only some settings are in storage. */
const ownDefaults = {
  expected_count: 1,
  hold_ttl_ms: 77_000,
  require_token: true,
  success_completes: 'contained',
} as const;

test('configuring a merge queue made on first use keeps the defaults of the caller for what it does not name', async () => {
  await using db = await freshDatabase();
  await using other = openReplica(db);
  await using replica = openReplica(db, { settings: ownDefaults });
  const { id } = new Builds([other]);
  await new Builds([other]).poll(1);
  const configure = (change: object) =>
    replica.queues.configure(id, change, { ifVersion: undefined, actor: undefined });
  expect(await configure({ ttl_ms: 5000 })).toMatchObject({ ...ownDefaults, ttl_ms: 5000, auto_created: false });
  expect((await other.queues.show(id))?.settings).toMatchObject({ ...ownDefaults, ttl_ms: 5000 });
  // From then on it keeps what it has, whatever the defaults of whoever changes it.
  await other.queues.configure(id, { ttl_ms: 6000 }, { ifVersion: undefined, actor: undefined });
  expect(await replica.queues.detail(id)).toMatchObject({ ...ownDefaults, ttl_ms: 6000 });
});

test('a merge queue made on first use is shown with the defaults, one by one and in the list; a configured one is not', async () => {
  await using db = await freshDatabase();
  await using replica = openReplica(db, { settings: ownDefaults });
  await using other = openReplica(db);
  const [made, configured] = [aMergeQueue('made'), aMergeQueue('configured')];
  await new Builds([other], made).poll(1);
  await other.queues.configure(configured, {}, { ifVersion: undefined, actor: undefined });
  const { merge_queues: page } = await replica.queues.page({ prefix: 'merge-queue/', cursor: '', limit: 10 });
  expect(page.map(({ base_ref: baseRef }) => baseRef)).toEqual(['configured', 'made']);
  expect(page[1]).toMatchObject({ ...ownDefaults, auto_created: true });
  expect(await replica.queues.detail(made)).toMatchObject(ownDefaults);
  expect(page[0]).toMatchObject({ expected_count: 4, hold_ttl_ms: null, require_token: false, auto_created: false });
});

test('the list has all merge queues, and is read in pages', async () => {
  await using db = await freshDatabase();
  const gate = aGate();
  await using replica = openReplica(db, { intercept: gate.intercept });
  await db.query(`insert into signalbox.merge_queues (queue, owner, repo, base_ref, stabilisation_ms, ttl_ms,
      expected_count, delay_count, window_started_at, used_at, created_at, updated_at)
    select 'merge-queue/o/r/b' || n, 'o', 'r', 'b' || n, 1, 1, 1, 0, now(), now(), now(), now()
    from generate_series(1, 250) n`);
  const listed = await replica.queues.list('merge-queue/');
  expect(new Set(listed.map(({ id }) => id.baseRef)).size).toBe(250);
  expect(listed).toHaveLength(250);
  expect(gate.count('starts_with')).toBe(3);
  expect(await replica.queues.list('merge-queue/o/r/b25')).toHaveLength(2);
});

test('a client that hung up before its call was decided is given nothing, and its neighbours are answered', async () => {
  await using race = await aRace();
  const client = new AbortController();
  const stands = race.gate.stopBefore('read_merge_queue');
  const gone = race.slow.poll(2, { signal: client.signal });
  await stands;
  const neighbour = race.slow.poll(1);
  client.abort();
  race.gate.open();
  await expect(gone).rejects.toMatchObject({ name: 'AbortError' });
  expect(outcomeOf(await neighbour)).toBe('acquired');
  expect(await grantsOf(race.db)).toEqual(['sha1 acquired']);
  expect((await race.quick.brief()).known).toEqual(['sha1 acquired']);
});

test('a client that hung up before its call was decided leaves an unused merge queue unmade', async () => {
  await using race = await aRace();
  const client = new AbortController();
  const stands = race.gate.stopBefore('read_merge_queue');
  const gone = race.slow.poll(1, { signal: client.signal });
  await stands;
  client.abort();
  race.gate.open();
  await expect(gone).rejects.toMatchObject({ name: 'AbortError' });
  expect(race.gate.count('save_merge_queue')).toBe(0);
  expect(await rowsOf(race.db, 'select from signalbox.merge_queues')).toHaveLength(0);
});

test('a client that hung up while others wrote first is given nothing when it is decided again', async () => {
  await using race = await aRace();
  await race.quick.polls(9);
  const client = new AbortController();
  await race.quick.release(9, 'failure');
  const stands = race.gate.stopBefore('save_merge_queue');
  const gone = race.slow.poll(1, { signal: client.signal });
  await stands;
  await race.quick.polls(2);
  await race.quick.release(2, 'failure');
  client.abort();
  race.gate.open();
  await expect(gone).rejects.toMatchObject({ name: 'AbortError' });
  expect(await grantsOf(race.db)).toEqual([]);
});

test('a call that is told that the replica stops has not hung up: it is decided', async () => {
  await using race = await aRace();
  const stop = new AbortController();
  const stands = race.gate.stopBefore('read_merge_queue');
  const waiting = race.slow.poll(1, { signal: stop.signal });
  await stands;
  stop.abort(new SignalboxError('shutting_down'));
  race.gate.open();
  expect(outcomeOf(await waiting)).toBe('acquired');
});

test('renewals go on the lane of renewals, other calls on theirs', async () => {
  await using db = await freshDatabase();
  await using database = new Database({ url: db.url, connectTimeoutMs: 5000, statementTimeoutMs: 20_000 });
  const lanes: Lane[] = [];
  const watched = {
    query: (...call: Parameters<Database['query']>) => {
      lanes.push(call[0]);
      return database.query(...call);
    },
  } as unknown as Database;
  await using replica = openReplica(db, { settings: atOnce, database: watched });
  const builds = new Builds([replica]);
  const token = tokenOf(await builds.poll(1));
  expect(new Set(lanes.splice(0))).toEqual(new Set(['contended']));
  tokenOf(await builds.renew(1, token));
  expect(lanes.splice(0)).toEqual(['renew', 'renew']);
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

test('a merge queue deleted in the middle of a decision is made anew by it, with a higher token', async () => {
  await using race = await aRace();
  const first = tokenOf(await race.quick.poll(9));
  await race.quick.release(9, 'failure');
  const stands = race.gate.stopBefore('save_merge_queue');
  const slow = race.slow.poll(1);
  await stands;
  await race.quickReplica.queues.remove(race.quick.id, { force: false, ifVersion: undefined, actor: 'ops' });
  race.gate.open();
  expect(tokenOf(await slow)).toBeGreaterThan(first);
  expect(race.gate.count('read_merge_queue')).toBe(2);
});

test('a merge queue deleted and made anew in the middle of a decision is another one, though it was written as often', async () => {
  await using race = await aRace();
  await race.quick.poll(9);
  await race.quick.release(9, 'failure');
  const stands = race.gate.stopBefore('save_merge_queue');
  const slow = race.slow.poll(1);
  await stands;
  await race.quickReplica.queues.remove(race.quick.id, { force: true, ifVersion: undefined, actor: 'ops' });
  // As many writes as the deleted one had when the decision was made, and somebody has the lease.
  await race.quick.renew(2, tokenOf(await race.quick.poll(2)));
  race.gate.open();
  expect(outcomeOf(await slow)).toBe('lease_taken');
  expect(await grantsOf(race.db)).toEqual(['sha2 acquired']);
});

test('a merge queue in use is not deleted, but by force: then its holder is told that the lease is lost', async () => {
  await using race = await aRace();
  const token = tokenOf(await race.quick.poll(1));
  const remove = (force: boolean) =>
    race.quickReplica.queues.remove(race.quick.id, { force, ifVersion: undefined, actor: 'ops' });
  await expect(remove(false)).rejects.toMatchObject({ code: 'merge_queue_in_use' });
  await remove(true);
  expect(await race.quick.renew(1, token)).toMatchObject({ refusal: 'lease_lost', reason: 'cleared' });
  expect(await race.quick.release(1, 'success', { fencingToken: token })).toMatchObject({
    refusal: 'ended_otherwise',
    reason: 'cleared',
  });
  await expect(remove(true)).rejects.toMatchObject({ code: 'merge_queue_not_found' });
  expect(tokenOf(await race.quick.poll(1))).toBeGreaterThan(token);
});

test('deleting by force clears again what registers in between: it is in the history, and its holder is told', async () => {
  await using race = await aRace();
  const tokens = [tokenOf(await race.quick.poll(1))];
  const stands = race.gate.stopBefore('delete_merge_queue');
  const removed = race.slow.next().remove(race.slow.id, { force: true, ifVersion: undefined, actor: 'ops' });
  await stands;
  tokens.push(tokenOf(await race.quick.poll(2)));
  race.gate.open();
  await removed;
  expect(await rowsOf(race.db, 'select from signalbox.merge_queues')).toHaveLength(0);
  for (const [index, token] of tokens.entries())
    expect(await race.quick.renew(index + 1, token)).toMatchObject({ refusal: 'lease_lost', reason: 'cleared' });
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

test('every name that merge queues are stored under is understood again', async () => {
  await using race = await aRace();
  for (const baseRef of ['main', 'release/1.2', 'a/b/c', '@x:y', '-'])
    expect(outcomeOf(await new Builds([race.quickReplica], aMergeQueue(baseRef)).poll(1))).toBe('acquired');
  const names = await rowsOf<{ queue: string; base_ref: string }>(
    race.db,
    'select queue, base_ref from signalbox.merge_queues',
  );
  expect(names).toHaveLength(5);
  for (const { queue, base_ref: baseRef } of names) expect(parseMergeQueueName(queue)).toEqual(aMergeQueue(baseRef));
});

test.each([
  ['a:b', 'c'],
  ['a', 'b:c'],
])('owner %s with repo %s names no merge queue: the provider ids of two would be the same', (owner, repo) => {
  expect(mergeQueueId(owner, repo, 'main')).toBeUndefined();
  expect(parseMergeQueueName(`merge-queue/${owner}/${repo}/main`)).toBeUndefined();
  const inBaseRef = mergeQueueId('a', 'b', 'c:main');
  expect(inBaseRef && providerId(inBaseRef)).toBe('a:b:c:main');
});
