import { expect, onTestFinished, test } from 'vitest';
import { reaperChores, type ReaperOptions } from '../../src/maintenance/reaper.ts';
import type { ReplicaId } from '../../src/protocol/ids.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import type { Decision } from '../../src/store/decisions.ts';
import { campaign } from '../../src/store/orchestrator-lock.ts';
import { openRacer, sqlStateOf } from '../support/blocked.ts';
import { moveClock } from '../support/database-clock.ts';
import { ElectionRig } from '../support/electors.ts';
import { expectSoundRuns, onRuns } from '../support/sql-runs.ts';
import { type Connection, makeQueues, oneOf, onQueue, rowsOf } from '../support/sql-verbs.ts';

const day = 86_400_000;
const failed = { outcome: 'failure', error: 'no disk' };

async function setup(more: Partial<ReaperOptions> = {}) {
  const rig = await ElectionRig.make();
  onTestFinished(async () => {
    await expectSoundRuns(rig.database);
    await rig[Symbol.asyncDispose]();
  });
  const db = rig.lanes();
  const moved: Decision[] = [];
  const chores = reaperChores({
    db,
    leaseMs: 10_000,
    clock: systemClock,
    onMoved: (decisions) => moved.push(...decisions),
    ...more,
  });
  const replicaId = 'a:1:x' as ReplicaId;
  return {
    database: rig.database,
    moved,
    /** Campaigns at the database's present time and makes one round. */
    round: async (name: string) => {
      const { epoch } = await campaign(db, replicaId, 10_000, { timeoutMs: 2000 });
      const chore = chores.find((one) => one.name === name);
      if (chore === undefined) throw new Error(`no chore ${name}`);
      return chore.runOnce({ term: { replicaId, epoch }, signal: new AbortController().signal });
    },
  };
}

test.each([
  ['sweep_inbox', ''],
  ['sweep_due', ''],
  ['sweep_overdue', ''],
  ['sweep_wait_timeouts', ''],
  ['sweep_dead_letters', ', 1000'],
])('%s refuses who does not lead', async (sweep, more) => {
  await using rig = await ElectionRig.make();
  expect(await sqlStateOf(rig.database.query(`select * from signalbox_v1.${sweep}('nobody', 1${more})`))).toBe('SB001');
});

test('runs enqueued from SQL go into their lines in the order of their queue, and takers are called', async () => {
  const { database, moved, round } = await setup();
  await makeQueues(database, ['a', 'b']);
  for (const id of ['1', '2']) for (const queue of ['b', 'a']) await onRuns(database, queue).enqueueBySql(id);
  expect(await round('inbox')).toEqual({ moved: 4 });
  expect(await onRuns(database, 'a').line()).toEqual(['1', '2']);
  expect(await onRuns(database, 'b').line()).toEqual(['1', '2']);
  expect(moved.filter(({ code }) => code === 'ready').map(({ queue }) => queue)).toEqual(['a', 'b']);
  expect(await round('inbox')).toEqual({});
});

test('350 runs of one queue do not keep another waiting, and all go in one round', async () => {
  const { database, moved, round } = await setup();
  await makeQueues(database, ['many', 'one']);
  await database.query(`select signalbox_v1.enqueue('many', 'r' || n) from generate_series(1, 350) n`);
  await onRuns(database, 'one').enqueueBySql('r');
  expect(await round('inbox')).toEqual({ moved: 351 });
  const order = moved.filter(({ code }) => code === 'moved').map(({ queue, body }) => [queue, body?.['rows']]);
  expect(order).toEqual([
    ['many', 100],
    ['one', 1],
    ['many', 100],
    ['many', 100],
    ['many', 50],
  ]);
});

test('queues that runs wait for are made, if they may be', async () => {
  const { database, round } = await setup();
  await onRuns(database, 'new').enqueueBySql('r');
  expect(await round('inbox')).toEqual({ moved: 1 });
  expect(await onRuns(database, 'new').line()).toEqual(['r']);
});

test('where queues are not made on first use, runs wait in the inbox and their queues are counted', async () => {
  const { database, moved, round } = await setup({ autoCreateQueues: false });
  for (const queue of ['new', 'other']) await onRuns(database, queue).enqueueBySql('r');
  expect(await round('inbox')).toEqual({ queue_missing: 2 });
  expect(moved).toEqual([]);
  await makeQueues(database, ['new']);
  expect(await round('inbox')).toEqual({ queue_missing: 1, moved: 1 });
});

test('what max_runs leaves in the inbox does not make a loop, and goes in when there is room', async () => {
  const { database, round } = await setup();
  await makeQueues(database, ['q', 'r'], { max_runs: 2 });
  await database.query(`select signalbox_v1.enqueue(queue, 'r' || n) from generate_series(1, 5) n,
    unnest(array['q', 'r']) queue`);
  expect(await round('inbox')).toEqual({ moved: 4 });
  expect(await round('inbox')).toEqual({});
  await onRuns(database, 'q').work('r1', { outcome: 'success' });
  expect(await round('inbox')).toEqual({ moved: 1 });
  expect(await onRuns(database, 'q').line()).toEqual(['r2', 'r3']);
});

test('a line that somebody else holds is passed over and swept in the next round', async () => {
  const { database, round } = await setup();
  await makeQueues(database, ['a', 'b']);
  const { client } = await openRacer(database);
  for (const queue of ['a', 'b']) {
    await onRuns(database, queue).enqueueBySql('sql');
    await onRuns(database, queue).enqueue('due', { delay_ms: 1000 });
  }
  // The enqueue took what was in the inbox.
  for (const queue of ['a', 'b']) await onRuns(database, queue).enqueueBySql('later');
  await moveClock(database, 2000);

  await client.query('begin');
  await client.query(`select from signalbox.lines where queue = 'a' for no key update`);
  expect(await round('inbox')).toEqual({ moved: 1 });
  expect(await round('due')).toEqual({ due: 1 });
  await client.query('commit');
  expect(await round('inbox')).toEqual({ moved: 1 });
  expect(await round('due')).toEqual({ due: 1 });
  expect(await onRuns(database, 'a').line()).toEqual(['sql', 'due', 'later']);
});

test('what is due goes into its line at its old place; what is not stays', async () => {
  const { database, moved, round } = await setup();
  await makeQueues(database, ['q', 'claims']);
  const q = onRuns(database, 'q');
  await q.enqueue('soon', { delay_ms: 1000 });
  await q.enqueue('now');
  await q.enqueue('late', { delay_ms: 60_000 });
  const claims = onQueue(database, 'claims');
  const [token = 0] = await claims.hold('a');
  await onRuns(database, 'claims').release('a', token, { outcome: 'retry', retry_after_ms: 1000 });
  await moveClock(database, 2000);
  expect(await round('due')).toEqual({ due: 2, held: 1 });
  expect(await q.line()).toEqual(['soon', 'now']);
  expect(await claims.held()).toEqual(['a']);
  expect(moved.map(({ code, queue }) => [code, queue])).toContainEqual(['ready', 'q']);
  expect(await round('due')).toEqual({});
});

test('one round moves 350 due runs of one queue and those of 150 others', async () => {
  const { database, round } = await setup();
  await makeQueues(
    database,
    Array.from({ length: 150 }, (_none, n) => `q${n}`),
  );
  await makeQueues(database, ['many']);
  await database.query(
    `select signalbox_v1.enqueue('many', 'r' || n, p_delay_ms => 1000) from generate_series(1, 350) n`,
  );
  await database.query(`select signalbox_v1.enqueue('q' || n, 'r', p_delay_ms => 1000) from generate_series(0, 149) n`);
  expect(await round('inbox')).toEqual({ moved: 500 });
  await moveClock(database, 5000);
  expect(await round('due')).toEqual({ due: 500 });
});

test('a lost line of 100 due runs does not hide the others behind it', async () => {
  const { database, round } = await setup();
  await makeQueues(database, ['busy', 'free']);
  await database.query(
    `select signalbox_v1.enqueue('busy', 'r' || n, p_delay_ms => 1000) from generate_series(1, 250) n`,
  );
  await database.query(`select signalbox_v1.enqueue('free', 'r', p_delay_ms => 2000)`);
  await round('inbox');
  await moveClock(database, 5000);
  const { client } = await openRacer(database);
  await client.query('begin');
  await client.query(`select from signalbox.lines where queue = 'busy' for no key update`);
  expect(await round('due')).toEqual({ due: 1 });
  await client.query('commit');
  expect(await round('due')).toEqual({ due: 250 });
});

test('runs that outlived their age die where they wait, and are left where they are held', async () => {
  const { database, moved, round } = await setup();
  await makeQueues(database, ['q'], { concurrency_limit: 2 });
  const q = onRuns(database, 'q');
  await q.enqueue('held', { max_age_ms: 1000 });
  await q.take();
  await q.enqueue('retried', { max_age_ms: 1000 });
  await q.work('retried', { outcome: 'retry', retry_after_ms: 60_000, error: 'no disk' });
  for (const id of ['waiting', 'delayed'])
    await q.enqueue(id, { max_age_ms: 1000, delay_ms: id === 'delayed' ? 60_000 : 0 });
  await q.enqueue('young', { max_age_ms: 60_000 });
  await moveClock(database, 2000);
  expect(await round('overdue')).toEqual({ ended: 3 });
  expect(await round('overdue')).toEqual({});
  expect(await q.line()).toEqual(['young']);
  expect(
    await rowsOf(database, 'select claim_id, reason, error, blocks from signalbox.dead_letters order by claim_id'),
  ).toEqual([
    { claim_id: 'delayed', reason: 'max_age', error: null, blocks: false },
    { claim_id: 'retried', reason: 'max_age', error: 'no disk', blocks: false },
    { claim_id: 'waiting', reason: 'max_age', error: null, blocks: false },
  ]);
  expect(moved.find(({ claim_id: id }) => id === 'waiting')).toMatchObject({
    code: 'ended',
    body: { state: 'dead', reason: 'max_age', attempt: 0 },
  });
});

test('250 held runs that are too old do not hide one that waits', async () => {
  const { database, round } = await setup();
  await makeQueues(database, ['q', 'r'], { concurrency_limit: null });
  await database.query(
    `select signalbox_v1.enqueue('q', 'r' || n, p_max_age_ms => 1000) from generate_series(1, 250) n`,
  );
  await round('inbox');
  expect(await onRuns(database, 'q').take(1000)).toHaveLength(250);
  await onRuns(database, 'r').enqueue('late', { max_age_ms: 1500 });
  await moveClock(database, 10_000);
  expect(await round('overdue')).toEqual({ ended: 1 });
});

test('a blocker that dies of age lets those behind it go', async () => {
  const { database, moved, round } = await setup();
  await makeQueues(database, ['q']);
  const q = onRuns(database, 'q');
  await q.enqueue('a', { max_age_ms: 1000 });
  await q.enqueue('b');
  await q.work('a', { outcome: 'retry', retry_after_ms: 60_000 });
  expect(await q.take()).toEqual([]);
  await moveClock(database, 2000);
  await round('overdue');
  expect(moved.map(({ code, queue }) => [code, queue])).toContainEqual(['ready', 'q']);
  expect(await q.take()).toMatchObject([{ claim_id: 'b' }]);
});

test('old dead letters go, but none that stops its line', async () => {
  const { database, round } = await setup({ deadLetterRetentionMs: 30 * day });
  await makeQueues(database, ['q', 'stopped']);
  await onQueue(database, 'stopped').configure({ on_failure: 'stop' });
  for (const queue of ['q', 'stopped']) {
    await onRuns(database, queue).enqueue('old');
    await onRuns(database, queue).work('old', failed);
  }
  await addPartitions(database, 31);
  await moveClock(database, 31 * day);
  await onRuns(database, 'q').enqueue('young');
  await onRuns(database, 'q').work('young', failed);
  expect(await round('dead_letters')).toEqual({ purged: 1 });
  expect(await rowsOf(database, 'select queue, claim_id from signalbox.dead_letters order by 1, 2')).toEqual([
    { queue: 'q', claim_id: 'young' },
    { queue: 'stopped', claim_id: 'old' },
  ]);
  expect(await onRuns(database, 'q').events('claim.purged')).toEqual([
    ['claim.purged', 'old', { reason: 'failure', detail: 'retention' }],
  ]);
});

test('one round removes 350 old dead letters, and an overtaken redrive saves its run', async () => {
  const { database, round } = await setup({ deadLetterRetentionMs: 1000 });
  await makeQueues(database, ['q'], { concurrency_limit: null });
  const q = onRuns(database, 'q');
  await database.query(`select signalbox_v1.enqueue('q', 'r' || n) from generate_series(1, 350) n`);
  await round('inbox');
  for (const { claim_id: id, fencing_token: token } of await q.take(350)) await q.release(id, token, failed);
  await moveClock(database, 2000);
  await q.redrive(['r7']);
  expect(await round('dead_letters')).toEqual({ purged: 349 });
  expect(await q.line()).toEqual(['r7']);
});

test('what takes gave is forgotten after an hour', async () => {
  const { database, round } = await setup();
  await database.query(`insert into signalbox.takes (holder, request_id, source, taken_at)
    select 'h', 'r' || n, '=q', signalbox.clock() from generate_series(1, 250) n`);
  expect(await round('registers')).toEqual({ removed: 0 });
  await moveClock(database, 3_601_000);
  await database.query(
    `insert into signalbox.takes (holder, request_id, source, taken_at) values ('h', 'new', '=q', signalbox.clock())`,
  );
  expect(await round('registers')).toEqual({ removed: 250 });
  expect(await rowsOf(database, 'select request_id from signalbox.takes')).toEqual([{ request_id: 'new' }]);
});

test('350 runs whose taker died are back in line after one round', async () => {
  const { database, moved, round } = await setup();
  await makeQueues(database, ['q'], { concurrency_limit: null });
  await database.query(`select signalbox_v1.enqueue('q', 'r' || n) from generate_series(1, 350) n`);
  await round('inbox');
  expect(await onRuns(database, 'q').take(350)).toHaveLength(350);
  await moveClock(database, 60_000);
  expect(await round('leases')).toEqual({ returned: 350 });
  expect(await oneOf(database, 'select runs from signalbox.lines')).toEqual({ runs: 350 });
  expect(moved.at(-1)).toMatchObject({ code: 'ready', queue: 'q' });
});

test.each([
  ['a run in line', (q: ReturnType<typeof onRuns>) => q.enqueue('r')],
  ['a delayed run', (q: ReturnType<typeof onRuns>) => q.enqueue('r', { delay_ms: 30 * day })],
  ['a run in the inbox', (q: ReturnType<typeof onRuns>) => q.enqueueBySql('r')],
  [
    'a dead letter',
    async (q: ReturnType<typeof onRuns>) => {
      await q.enqueue('r');
      await q.work('r', failed);
    },
  ],
])('a queue with %s is not idle', async (_what, fill) => {
  const { database, round } = await setup();
  await makeQueues(database, ['q', 'idle']);
  await fill(onRuns(database, 'q'));
  await moveClock(database, 2 * 3_600_000);
  expect(await round('idle_queues')).toEqual({ deleted: 1 });
  expect(await rowsOf(database, 'select queue from signalbox.queues')).toEqual([{ queue: 'q' }]);
});

test('among 100,000 rows that are not their business sweeps and verbs of operators read a few pages', async () => {
  const { database } = await setup();
  await makeQueues(database, ['q', 'full'], { max_runs: 0 });
  // As autovacuum leaves it a minute after the migration.
  await database.query('vacuum analyze');
  const client = await database.connect();
  await client.query(`select signalbox_v1.campaign('r1', 600000)`);
  const sweeps = [
    `select * from signalbox_v1.sweep_inbox('r1', 1)`,
    `select * from signalbox_v1.sweep_due('r1', 1)`,
    `select * from signalbox_v1.sweep_overdue('r1', 1)`,
    `select * from signalbox_v1.sweep_wait_timeouts('r1', 1)`,
    `select * from signalbox_v1.sweep_dead_letters('r1', 1, 1000000)`,
    `select signalbox_v1.sweep_registers('r1', 1)`,
    `select * from signalbox_v1.redrive('q', array['nobody'], 'tester')`,
    `select * from signalbox_v1.redrive('q', null, 'tester', 100, '-infinity')`,
    `select * from signalbox_v1.retry_run('q', 'nobody', 'tester')`,
    `select * from signalbox_v1.skip_run('q', 'nobody', 'tester')`,
    `select * from signalbox_v1.unblock('q', 'tester')`,
    // What every enqueue looks up.
    `select * from signalbox_v1.decide('[{"op": "enqueue", "queue": "q", "claim_id": "d7"}]')`,
  ];
  for (const table of ['delayed', 'inbox', 'runs', 'dead_letters', 'takes'])
    await database.query(`alter table signalbox.${table} set (autovacuum_enabled = off)`);
  // Plans made on empty tables are kept.
  for (let n = 0; n < 7; n++) for (const call of sweeps) await client.query(call);
  await database.query(`insert into signalbox.delayed (queue, claim_id, kind, seq, priority, mode, holder, ttl_ms,
      lapsed_offers, labels, metadata, enqueued_at, attempts, due_at, blocks)
    select 'q', 'r' || n, 'run', n, 0, 'wait', '', 1000, 0, '{}', '{}', now(), 0, now() + interval '1 hour' + n * interval '1 ms', false
    from generate_series(1, 100000) n`);
  await database.query(`insert into signalbox.runs (queue, claim_id, max_attempts, dead_after)
    select 'q', 'r' || n, 5, now() + interval '1 hour' + n * interval '1 ms' from generate_series(1, 100000) n`);
  await database.query(`insert into signalbox.inbox (queue, claim_id, priority, labels, delay_ms, enqueued_at)
    select 'full', 'r' || n, 0, '{}', 0, now() from generate_series(1, 100000) n`);
  await database.query(`insert into signalbox.dead_letters (queue, claim_id, reason, holder, attempts, max_attempts,
      priority, seq, labels, metadata, enqueued_at, died_at, blocks)
    select 'q', 'd' || n, 'failure', '', 1, 5, 0, n, '{}', '{}', now(), now() - n * interval '1 ms', false from generate_series(1, 100000) n`);
  await database.query(`insert into signalbox.takes (holder, request_id, source, taken_at)
    select 'h', 'r' || n, '=q', now() - n * interval '1 ms' from generate_series(1, 100000) n`);
  await database.query(`update signalbox.lines set delayed = 100000, dead = 100000,
    next_due_at = now() where queue = 'q'`);
  for (const call of sweeps) expect([call, (await pagesRead(client, call)) < 200]).toEqual([call, true]);
}, 60_000);

/** Pages that a statement touches, all that it calls included. */
async function pagesRead(client: Connection, sql: string): Promise<number> {
  const row = await oneOf<{ 'QUERY PLAN': readonly { Plan: Record<string, number> }[] }>(
    client,
    `explain (analyze, buffers, format json) ${sql}`,
  );
  const plan = row['QUERY PLAN'][0]?.Plan ?? {};
  return (plan['Shared Hit Blocks'] ?? NaN) + (plan['Shared Read Blocks'] ?? NaN);
}

/** A day so far ahead is not there yet. */
async function addPartitions(database: { query(sql: string): Promise<unknown> }, daysAhead: number): Promise<void> {
  await database.query(`select signalbox.make_partitions(${daysAhead + 1})`);
}
