import { afterEach, beforeEach, expect, test } from 'vitest';
import { mergeQueueChores } from '../../src/maintenance/merge-queue-reaper.ts';
import { parseMergeQueueName } from '../../src/protocol/merge-queue.ts';
import type { Epoch, ReplicaId } from '../../src/protocol/ids.ts';
import { openRacer, sqlStateOf } from '../support/blocked.ts';
import { type TestDatabase, freshDatabase } from '../support/database.ts';
import { rowsOf } from '../support/sql-verbs.ts';
import {
  Builds,
  type MergeReplica,
  aMergeQueue,
  openReplica,
  outcomeOf,
  tokenOf,
} from '../merge-queue/support/service.ts';
import { type VirtualClock, stopClock } from '../merge-queue/support/virtual-clock.ts';

const idleMs = 3_600_000;
const term = { replicaId: 'leader:1:0' as ReplicaId, epoch: 1 as Epoch };

let db: TestDatabase;
let clock: VirtualClock;
let replica: MergeReplica;

beforeEach(async () => {
  db = await freshDatabase();
  clock = await stopClock(db);
  await db.query(`select signalbox_v1.campaign('leader:1:0', 2000000000)`);
  replica = openReplica(db, { settings: { expected_count: 1, hold_ttl_ms: 1000, ttl_ms: 1000 } });
});
afterEach(async () => {
  await replica[Symbol.asyncDispose]();
  await db[Symbol.asyncDispose]();
});

function choreNamed(name: string, tick?: (queue: string) => Promise<number>) {
  const chore = mergeQueueChores({
    db: replica.database,
    leaseMs: 10_000,
    idleMs,
    tick:
      tick ??
      (async (queue, of) => {
        const id = parseMergeQueueName(queue);
        return id === undefined ? 0 : (await replica.desk.tick(id, of)).length;
      }),
  }).find((other) => other.name === name);
  if (chore === undefined) throw new Error(name);
  return (signal = new AbortController().signal) => chore.runOnce({ term, signal });
}

const names = (rows: readonly Record<string, unknown>[]) => rows.map((row) => row['queue']);
const all = async () => names(await rowsOf(db, 'select queue from signalbox.merge_queues order by queue'));

test('a round looks at what is due and at nothing else', async () => {
  const due = new Builds([replica], aMergeQueue('due'));
  const later = new Builds([replica], aMergeQueue('later'));
  await due.poll(1);
  await later.poll(1, { holdTtlMs: 60_000 });
  const looked: string[] = [];
  const looks = choreNamed('merge_queues', (queue) => {
    looked.push(queue);
    return Promise.resolve(0);
  });
  await clock.pass(999);
  await looks();
  expect(looked).toEqual([]);
  await clock.pass(1);
  await looks();
  expect(looked).toEqual([due.id.name]);
  const reap = choreNamed('merge_queues');
  expect(await reap()).toEqual({ moved: 2 });
  expect(await reap()).toEqual({ moved: 0 });
  expect((await due.brief()).acquired).toBeNull();
  expect((await later.brief()).acquired).toBe('sha1 acquired');
});

test('one that cannot be looked at is told of and does not keep the round from the others', async () => {
  for (const name of ['a', 'b', 'c']) {
    await new Builds([replica], aMergeQueue(name)).poll(1);
    await clock.pass(1);
  }
  await clock.pass(1000);
  const looked: string[] = [];
  const round = choreNamed('merge_queues', (queue) => {
    looked.push(queue);
    return queue.endsWith('a') ? Promise.reject(new Error('cannot be read')) : Promise.resolve(1);
  })();
  await expect(round).rejects.toThrow('1 merge queues could not be looked at');
  expect(looked).toEqual(['a', 'b', 'c'].map((name) => aMergeQueue(name).name));
});

test('a round whose time is over stops between two merge queues', async () => {
  for (const name of ['a', 'b']) await new Builds([replica], aMergeQueue(name)).poll(1);
  await clock.pass(1000);
  const round = new AbortController();
  let looked = 0;
  await choreNamed('merge_queues', () => {
    looked++;
    round.abort();
    return Promise.resolve(1);
  })(round.signal);
  expect(looked).toBe(1);
});

test('the end of the term ends the round', async () => {
  for (const name of ['a', 'b']) await new Builds([replica], aMergeQueue(name)).poll(1);
  await clock.pass(1000);
  await db.query(`select signalbox_v1.resign('leader:1:0', 1)`);
  expect(await sqlStateOf(choreNamed('merge_queues')())).toBe('SB001');
  expect(await sqlStateOf(choreNamed('idle_merge_queues')())).toBe('SB001');
  expect((await new Builds([replica], aMergeQueue('a')).brief()).acquired).toBe('sha1 acquired');
});

test('changed settings count from their change on, without a call: a shorter ttl brings the heirs out sooner', async () => {
  const builds = new Builds([replica]);
  await replica.queues.configure(
    builds.id,
    { ttl_ms: 600_000, expected_count: 2, hold_ttl_ms: null },
    { ifVersion: undefined, actor: undefined },
  );
  await builds.polls(1, 2);
  await builds.release(2, 'failure');
  await clock.pass(5000);
  const reap = choreNamed('merge_queues');
  expect(await reap()).toEqual({ moved: 0 });
  await replica.queues.configure(builds.id, { ttl_ms: 4000 }, { ifVersion: undefined, actor: undefined });
  expect(await reap()).toEqual({ moved: 2 });
  expect(await builds.brief()).toEqual({ acquired: null, known: [] });
});

test('merge queues made on first use go when nobody has used them for long; configured ones and those in use stay', async () => {
  const idle = new Builds([replica], aMergeQueue('idle'));
  const token = tokenOf(await idle.poll(1));
  await idle.release(1, 'failure');
  await replica.queues.configure(aMergeQueue('configured'), {}, { ifVersion: undefined, actor: undefined });
  await new Builds([replica], aMergeQueue('in-use')).poll(1, { holdTtlMs: 2_592_000_000 });
  const sweep = choreNamed('idle_merge_queues');
  await clock.pass(idleMs);
  await new Builds([replica], aMergeQueue('fresh')).poll(1);
  await new Builds([replica], aMergeQueue('fresh')).release(1, 'failure');
  expect(await sweep()).toEqual({ removed: 0 });
  await clock.pass(1);
  expect(await sweep()).toEqual({ removed: 1 });
  expect(await all()).toEqual(['configured', 'fresh', 'in-use'].map((name) => aMergeQueue(name).name));
  // A token of the queue that is made anew is higher than any of the one that went.
  expect(tokenOf(await idle.poll(2))).toBeGreaterThan(token);
  expect(outcomeOf(await idle.release(1, 'failure', { fencingToken: token }))).toBe('failure');
});

test('more idle ones than a page holds go in one round', async () => {
  await db.query(`insert into signalbox.merge_queues (queue, owner, repo, base_ref, stabilisation_ms, ttl_ms, expected_count,
      delay_count, window_started_at, used_at, created_at, updated_at)
    select 'merge-queue/o/r/b' || n, 'o', 'r', 'b' || n, 1, 1, 1, 0, now(), now(), now(), now() from generate_series(1, 250) n`);
  await clock.pass(idleMs + 60_000);
  expect(await choreNamed('idle_merge_queues')()).toEqual({ removed: 250 });
  const deleted = await rowsOf(db, `select from signalbox.events where type = 'merge_queue.deleted'`);
  expect(deleted).toHaveLength(250);
});

test('an idle one that is being written is passed over, and a decision made on one that went is made again', async () => {
  const builds = new Builds([replica]);
  await builds.poll(1);
  await builds.release(1, 'failure');
  await clock.pass(idleMs + 1);
  const sweep = choreNamed('idle_merge_queues');
  const writer = await openRacer(db);
  await writer.client.query('begin');
  await writer.client.query('select from signalbox.merge_queues for update');
  expect(await sweep()).toEqual({ removed: 0 });
  await writer.client.query('commit');
  expect(await sweep()).toEqual({ removed: 1 });
  expect(outcomeOf(await builds.poll(2))).toBe('acquired');
});
