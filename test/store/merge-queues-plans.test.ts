import { expect, test } from 'vitest';
import {
  readDueMergeQueues,
  readMergeGrantEnd,
  readMergeQueueNews,
  readMergeQueueRow,
  readMergeQueues,
  readMergeRequests,
} from '../../src/store/merge-queues.ts';
import { freshDatabase, type TestDatabase } from '../support/database.ts';
import { oneOf } from '../support/sql-verbs.ts';
import { Builds, type MergeReplica, aMergeQueue, openReplica, tokenOf } from '../merge-queue/support/service.ts';

/** Rows that this database's statements have read so far: by sequential scans, and entries and rows through indexes. */
async function rowsRead(db: TestDatabase): Promise<number> {
  // The replica's connections tell what they did when they have been idle for a moment, or with their next statement then.
  const { read } = await oneOf<{ read: number }>(
    db,
    `select ((select sum(seq_tup_read + coalesce(idx_tup_fetch, 0)) from pg_stat_user_tables)
       + (select sum(idx_tup_read) from pg_stat_user_indexes))::int as read`,
  );
  return read;
}

/** 10,000 merge queues with two builds each; one in a hundred has something due in an hour, all others as well but later. */
async function fill(db: TestDatabase): Promise<void> {
  await db.query(`insert into signalbox.merge_queues (queue, owner, repo, base_ref, stabilisation_ms, ttl_ms, expected_count,
      delay_count, window_started_at, due_at, used_at, created_at, updated_at)
    select 'merge-queue/other/r/b' || n, 'other', 'r', 'b' || n, 1000, 1000, 4, 0, now(),
      now() + interval '1 h' + n * interval '1 s', now(), now(), now()
    from generate_series(1, 10000) n`);
  await db.query(`insert into signalbox.merge_requests (queue, head_sha, head_ref, priority, status, registered_at,
      last_seen_at, fencing_token, acquired_at, expires_at, is_known)
    select 'merge-queue/other/r/b' || n, 'sha' || k, 'ref', k, case k when 1 then 'pending' else 'acquired' end, now(), now(),
      case k when 2 then n end, case k when 2 then now() end, case k when 2 then now() + interval '1 h' end, true
    from generate_series(1, 10000) n, generate_series(1, 2) k`);
  await db.query(`insert into signalbox.history (queue, claim_id, holder, state, reason, final, slot, fencing_token, priority,
      mode, labels, metadata, enqueued_at, ended_at, kind)
    select 'merge-queue/other/r/b' || n, 'sha2', 'h', 'released', 'released', true, 1, 1, 0, 'wait', '{}', '{}', now(), now(),
      'merge_request'
    from generate_series(1, 10000) n`);
}

/** What a replica asks all day about one merge queue, on one connection of each lane and so with cached plans. */
const work: Readonly<Record<string, (replica: MergeReplica) => Promise<unknown>>> = {
  'a life of three builds': async (replica) => {
    const builds = new Builds([replica]);
    await builds.polls(1, 2, 3, 1, 2);
    const token = tokenOf(await builds.poll(4));
    await builds.renew(4, token);
    await builds.release(4, 'success', { fencingToken: token });
    await builds.polls(1, 2, 3);
    await builds.release(4, 'success', { fencingToken: token });
    await builds.clear();
  },
  'the look for what is due': ({ database }) => readDueMergeQueues(database, 100),
  'the news of two': ({ database }) => readMergeQueueNews(database, [aMergeQueue().name, 'merge-queue/other/r/b7']),
  'how a grant ended': ({ database }) => readMergeGrantEnd(database, 'merge-queue/other/r/b7', 'sha2', 1),
  'the row of one': ({ database }) => readMergeQueueRow(database, 'merge-queue/other/r/b7'),
  'the builds of one': ({ database }) => readMergeRequests(database, ['merge-queue/other/r/b7'], 1000),
  'the first ten by name': ({ database }) =>
    readMergeQueues(database, { prefix: 'merge-queue/', after: '', limit: 10 }),
  'the ten behind one': ({ database }) =>
    readMergeQueues(database, { prefix: 'merge-queue/other/', after: 'merge-queue/other/r/b5', limit: 10 }),
};

/** Rows that dead versions and the catalogue of this test add; a table read whole would add 10,000. */
const slack = 1500;

test.each(Object.keys(work))('with 10,000 merge queues %s reads few rows, analysed or not', async (name) => {
  await using db = await freshDatabase();
  for (const table of ['merge_queues', 'merge_requests'])
    await db.query(`alter table signalbox.${table} set (autovacuum_enabled = off)`);
  const one = work[name];
  if (one === undefined) throw new Error(name);
  const read = async () => {
    const before = await rowsRead(db);
    const replica = openReplica(db);
    await one(replica);
    // Its counts are whole when its connections are closed.
    await replica[Symbol.asyncDispose]();
    await untilNoneConnected(db);
    return (await rowsRead(db)) - before;
  };
  await read();
  await fill(db);
  await read();
  // Without statistics this one is joined by reading the other table once.
  if (name !== 'the builds of one') expect(await read(), 'not analysed').toBeLessThan(slack);
  await db.query('analyze');
  expect(await read(), 'analysed').toBeLessThan(slack);
});

async function untilNoneConnected(db: TestDatabase): Promise<void> {
  for (;;) {
    const { others } = await oneOf<{ others: number }>(
      db,
      `select count(*)::int as others from pg_stat_activity
       where datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend'`,
    );
    if (others === 0) return;
  }
}

test('the look for what is due finds the longest due first, and no more than it is asked for', async () => {
  await using db = await freshDatabase();
  await using replica = openReplica(db);
  await fill(db);
  expect(await readDueMergeQueues(replica.database, 100)).toEqual([]);
  await db.query(`update signalbox.merge_queues set due_at = timestamptz '2026-01-01' + right(base_ref, 1)::int * interval '1 s'
    where base_ref in ('b1', 'b2', 'b3')`);
  const due = (n: number) => Array.from({ length: n }, (_, index) => `merge-queue/other/r/b${index + 1}`);
  expect(await readDueMergeQueues(replica.database, 100)).toEqual(due(3));
  expect(await readDueMergeQueues(replica.database, 2)).toEqual(due(2));
});
