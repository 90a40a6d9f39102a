import { expect, onTestFinished, test } from 'vitest';
import { patternChore } from '../../src/maintenance/pattern-chore.ts';
import type { QueuePattern } from '../../src/protocol/patterns.ts';
import type { ReplicaId } from '../../src/protocol/ids.ts';
import { Patterns } from '../../src/queues/patterns.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import type { Decision } from '../../src/store/decisions.ts';
import { campaign } from '../../src/store/orchestrator-lock.ts';
import { openRacer, sqlStateOf, waitPatiently } from '../support/blocked.ts';
import { moveClock } from '../support/database-clock.ts';
import type { TestDatabase } from '../support/database.ts';
import { ElectionRig } from '../support/electors.ts';
import { type Connection, makeQueues, onQueue, oneOf, rowsOf } from '../support/sql-verbs.ts';

const anybody = { ifVersion: undefined, actor: 'tester' };

async function setup(spreadWithinMs = 4000) {
  const rig = await ElectionRig.make();
  onTestFinished(() => rig[Symbol.asyncDispose]());
  const db = rig.lanes();
  const calls: { beforeEach: () => void } = { beforeEach: () => undefined };
  const query = db.query.bind(db);
  db.query = async (lane, statement) => {
    if (statement.sql.includes('inherit_settings')) calls.beforeEach();
    return query(lane, statement);
  };
  const told: Decision[] = [];
  const failures: unknown[] = [];
  const patterns = new Patterns({
    db,
    clock: systemClock,
    news: { spread: (decisions) => void told.push(...decisions) },
    onError: (error) => failures.push(error),
    spreadWithinMs,
  });
  await waitPatiently(rig.database);
  const set = (pattern: string, settings: object) => patterns.set(pattern as QueuePattern, settings, anybody);
  return { calls, rig, db, database: rig.database, told, failures, patterns, set };
}

/** The change alone, as a caller leaves it that dies at once. */
const setOnly = (on: Connection, pattern: string, settings: object) =>
  rowsOf<Decision>(on, 'select * from signalbox_v1.set_pattern($1, $2)', [pattern, JSON.stringify(settings)]);

async function limitOf(database: TestDatabase, queue: string): Promise<number | null> {
  const sql = 'select concurrency_limit from signalbox.lines where queue = $1';
  return (await oneOf<{ concurrency_limit: number | null }>(database, sql, [queue])).concurrency_limit;
}

test('the defaults of patterns are what a queue without any is set to', async () => {
  const { database } = await setup();
  await makeQueues(database, ['plain']);
  const sql = `select signalbox.settings_of(n, q) = signalbox.default_settings() as same,
    (select count(*)::int from jsonb_object_keys(signalbox.default_settings())) as count
    from signalbox.queues q join signalbox.lines n using (queue)`;
  expect(await oneOf(database, sql)).toEqual({ same: true, count: 26 });
  // The columns' own defaults, which an insert of an earlier program takes.
  await database.query(`insert into signalbox.queues (queue, created_at, updated_at) values ('bare', now(), now())`);
  await database.query(`insert into signalbox.lines (queue) values ('bare')`);
  expect(await rowsOf(database, sql)).toEqual([
    { same: true, count: 26 },
    { same: true, count: 26 },
  ]);
});

test('a change waits for a queue that is being made, and reaches it', async () => {
  const { database, set } = await setup();
  const maker = await openRacer(database);
  const changer = await openRacer(database);
  await maker.client.query('begin');
  await makeQueues(maker.client, ['repo/a']);
  const changed = setOnly(changer.client, 'repo/*', { concurrency_limit: 3 });
  await changer.isBlocked();
  await maker.client.query('commit');
  await changed;
  expect(await limitOf(database, 'repo/a')).toBe(1);
  // What the caller does next finds the queue.
  await set('repo/*', { concurrency_limit: 3 });
  expect(await limitOf(database, 'repo/a')).toBe(3);
});

for (const made of ['ensure_queues', 'configure'])
  test(`a queue made while a change is under way waits for it, and has it at once (${made})`, async () => {
    const { database } = await setup();
    const [changer, maker] = [await openRacer(database), await openRacer(database)];
    await changer.client.query('begin');
    await setOnly(changer.client, 'repo/*', { concurrency_limit: 3 });
    const making =
      made === 'configure' ? onQueue(maker.client, 'repo/a').configure({}) : makeQueues(maker.client, ['repo/a']);
    await maker.isBlocked();
    await changer.client.query('commit');
    await making;
    expect(await limitOf(database, 'repo/a')).toBe(3);
  });

test('of two changes at once, a narrow and a wide one, every queue ends as both say', async () => {
  const { database, set } = await setup();
  const queues = Array.from({ length: 150 }, (_, n) => `repo/${n}`);
  await makeQueues(database, [...queues, 'other']);
  await Promise.all([
    set('repo/*', { concurrency_limit: 3 }),
    set('*', { concurrency_limit: 9, waiting_ttl_ms: 5000 }),
    set('repo/1*', { concurrency_limit: 4 }),
  ]);
  const limits = await rowsOf<{ queue: string; concurrency_limit: number }>(
    database,
    'select queue, concurrency_limit from signalbox.lines order by queue',
  );
  const due = (queue: string) => (queue.startsWith('repo/1') ? 4 : queue.startsWith('repo/') ? 3 : 9);
  expect(limits.filter(({ queue, concurrency_limit }) => concurrency_limit !== due(queue))).toEqual([]);
  // The longest pattern alone counts, so the waiting_ttl_ms of the widest is for the other queue only.
  const sql = 'select queue from signalbox.queues where waiting_ttl_ms = 5000';
  expect(await rowsOf(database, sql)).toEqual([{ queue: 'other' }]);
  expect(await rowsOf(database, 'select pattern from signalbox_v1.queue_patterns where spreading')).toEqual([]);
});

test('a line that somebody has is not waited for, and gets the change as soon as it is let go', async () => {
  const { database, set } = await setup();
  await makeQueues(database, ['repo/a', 'repo/b', 'repo/c']);
  const keeper = await openRacer(database);
  await keeper.client.query('begin');
  await keeper.client.query(`select from signalbox.lines where queue = 'repo/b' for no key update`);
  const changing = set('repo/*', { concurrency_limit: 3 });
  await expect.poll(() => limitOf(database, 'repo/c')).toBe(3);
  expect(await limitOf(database, 'repo/b')).toBe(1);
  await keeper.client.query('commit');
  expect(await changing).toMatchObject({ spreading: false });
  expect(await limitOf(database, 'repo/b')).toBe(3);
});

test('one queue of which a row is not to be had in time keeps no other from the change', async () => {
  const { database, set } = await setup(3000);
  const queues = Array.from({ length: 120 }, (_, n) => `repo/${n}`);
  await makeQueues(database, queues);
  const [token = 0] = await onQueue(database, 'repo/1').hold('a');
  await onQueue(database, 'repo/1').release('a', token);
  const functions = `signalbox_v1.inherit_settings(text, text, text[], text, text, bigint, integer)`;
  await database.query(`alter function ${functions} set lock_timeout = '50ms'`);
  const keeper = await openRacer(database);
  await keeper.client.query('begin');
  await keeper.client.query(`select from signalbox.leases where queue = 'repo/1' for update`);
  // Without a limit its free slots are linked, and that needs the row.
  expect(await set('repo/*', { concurrency_limit: null })).toMatchObject({ spreading: true });
  const sql = 'select queue from signalbox.lines where concurrency_limit is not null';
  expect(await rowsOf(database, sql)).toEqual([{ queue: 'repo/1' }]);
  await keeper.client.query('commit');
  expect(await set('repo/*', { concurrency_limit: null })).toMatchObject({ spreading: false });
  expect(await rowsOf(database, sql)).toEqual([]);
});

test('a configure beside the change keeps what it names, and what it gives back is as the change says', async () => {
  const { database, set } = await setup();
  await makeQueues(database, ['repo/a', 'repo/b']);
  await set('repo/*', { concurrency_limit: 2 });
  await onQueue(database, 'repo/b').configure({ concurrency_limit: 7 });
  const [keeper, giver] = [await openRacer(database), await openRacer(database)];
  for (const { client } of [keeper, giver]) await client.query('begin');
  await onQueue(keeper.client, 'repo/a').configure({ concurrency_limit: 5 });
  await onQueue(giver.client, 'repo/b').configure({ inherit: ['concurrency_limit'] });
  const changer = await openRacer(database);
  const changed = setOnly(changer.client, 'repo/*', { concurrency_limit: 3 });
  // Both may have made a queue, so the change waits for them.
  await changer.isBlocked();
  for (const { client } of [keeper, giver]) await client.query('commit');
  await changed;
  await set('repo/*', { concurrency_limit: 3 });
  expect(await limitOf(database, 'repo/a')).toBe(5);
  expect(await limitOf(database, 'repo/b')).toBe(3);
});

test('the leader finishes the change of a caller that died, and only once it is old enough', async () => {
  const { rig, db, database, patterns } = await setup();
  const queues = Array.from({ length: 230 }, (_, n) => `repo/${n}`);
  await makeQueues(database, queues);
  await onQueue(database, 'repo/7').hold('a');
  await onQueue(database, 'repo/7').acquire('b');
  await setOnly(database, 'repo/*', { concurrency_limit: 3 });
  const replicaId = 'a:1:x' as ReplicaId;
  const chore = patternChore({ leaseMs: 10_000, finish: (term, signal) => patterns.finishAbandoned(term, signal) });
  const { signal } = new AbortController();
  const round = async () => {
    const { epoch } = await campaign(db, replicaId, 10_000, { timeoutMs: 2000 });
    return chore.runOnce({ term: { replicaId, epoch }, signal });
  };
  expect(await round()).toEqual({ inherited: 0 });
  await moveClock(database, 10_000);
  expect(await round()).toEqual({ inherited: 230 });
  expect(await onQueue(database, 'repo/7').held()).toEqual(['a', 'b']);
  expect(await round()).toEqual({ inherited: 0 });
  await rig.database.query(`select signalbox_v1.campaign('somebody', 10000)`);
  const deposed = { replicaId, epoch: 99 } as Parameters<typeof patterns.finishAbandoned>[0];
  await setOnly(database, 'repo/*', { concurrency_limit: 4 });
  await moveClock(database, 20_000);
  expect(await sqlStateOf(patterns.finishAbandoned(deposed, signal))).toBe('SB001');
  expect(await limitOf(database, 'repo/7')).toBe(3);
});

test('a leader whose rounds are short goes on where the last one ended', async () => {
  const { db, database, patterns, calls } = await setup();
  const queues = Array.from({ length: 950 }, (_, n) => `repo/${n}`);
  await makeQueues(database, queues);
  await setOnly(database, 'repo/*', { concurrency_limit: 3 });
  await moveClock(database, 10_000);
  const replicaId = 'a:1:x' as ReplicaId;
  const { epoch } = await campaign(db, replicaId, 10_000, { timeoutMs: 2000 });
  let changed = 0;
  for (let round = 1; changed < 950; round++) {
    const ending = new AbortController();
    calls.beforeEach = () => {
      // Each round gets to send one page.
      ending.abort();
    };
    changed += await patterns.finishAbandoned({ replicaId, epoch }, ending.signal);
    expect(changed).toBe(Math.min(950, round * 100));
  }
  calls.beforeEach = () => undefined;
  await patterns.finishAbandoned({ replicaId, epoch }, new AbortController().signal);
  expect(await rowsOf(database, 'select from signalbox_v1.queue_patterns where spreading')).toEqual([]);
});

test('a caller that must stop early leaves the rest marked for the leader', async () => {
  const { database, set } = await setup(50);
  await makeQueues(database, ['repo/a', 'repo/b']);
  const keeper = await openRacer(database);
  await keeper.client.query('begin');
  await keeper.client.query(`select from signalbox.lines where queue = 'repo/a' for no key update`);
  expect(await set('repo/*', { concurrency_limit: 3 })).toMatchObject({ spreading: true });
  expect(await limitOf(database, 'repo/b')).toBe(3);
  await keeper.client.query('commit');
  expect(await set('repo/*', { concurrency_limit: 3 })).toMatchObject({ spreading: false });
  expect(await limitOf(database, 'repo/a')).toBe(3);
});

test('a deleted pattern is gone for those who ask, and from the table once its queues know', async () => {
  const { database, patterns, set } = await setup();
  await makeQueues(database, ['repo/a']);
  await set('repo/*', { concurrency_limit: 3 });
  const { version } = await set('repo/*', { concurrency_limit: 4 });
  await patterns.delete('repo/*' as QueuePattern, anybody);
  expect(await limitOf(database, 'repo/a')).toBe(1);
  expect(await rowsOf(database, 'select from signalbox.queue_patterns')).toEqual([]);
  // One made again never has a version that somebody may still hold.
  expect((await set('repo/*', { concurrency_limit: 4 })).version).toBeGreaterThan(version);
});

test('an auto-created queue that inherits stays so and goes when idle; made again it inherits again', async () => {
  const { database, set } = await setup();
  await makeQueues(database, ['repo/a']);
  await set('repo/*', { concurrency_limit: 3 });
  await makeQueues(database, ['repo/b']);
  const sql = 'select queue, auto_created from signalbox.queues order by queue';
  expect(await rowsOf(database, sql)).toEqual([
    { queue: 'repo/a', auto_created: true },
    { queue: 'repo/b', auto_created: true },
  ]);
  await database.query(`select signalbox_v1.campaign('r', 3600000)`);
  await moveClock(database, 10_000);
  await database.query(`select * from signalbox_v1.sweep_idle_queues('r', 1, 1000)`);
  expect(await rowsOf(database, sql)).toEqual([]);
  await makeQueues(database, ['repo/a']);
  expect(await limitOf(database, 'repo/a')).toBe(3);
});

test('of a queue configured before patterns were known its limit is its own, and what is not the default', async () => {
  const { database, set } = await setup();
  await makeQueues(database, ['repo/old', 'repo/auto']);
  await onQueue(database, 'repo/old').configure({ lock_delay_ms: 50 });
  await database.query('update signalbox.queues set own_settings = null');
  await set('repo/*', { concurrency_limit: 3, lock_delay_ms: 7, max_attempts: 2 });
  expect(
    await rowsOf(
      database,
      `select queue, concurrency_limit, lock_delay_ms, max_attempts from signalbox_v1.queues order by queue`,
    ),
  ).toEqual([
    { queue: 'repo/auto', concurrency_limit: 3, lock_delay_ms: 7, max_attempts: 2 },
    { queue: 'repo/old', concurrency_limit: 1, lock_delay_ms: 50, max_attempts: 2 },
  ]);
});

test('a raise by a pattern fills all places of a queue, also more than one call fills', async () => {
  const { database, set, told } = await setup();
  await makeQueues(database, ['repo/a']);
  const queue = onQueue(database, 'repo/a');
  await queue.hold('holder');
  for (let n = 0; n < 250; n++) await queue.acquire(`c${n}`);
  await set('repo/*', { concurrency_limit: null });
  expect(await queue.held()).toHaveLength(251);
  expect(await queue.line()).toEqual([]);
  expect(told.filter(({ code }) => code === 'held')).toHaveLength(250);
});
