import { expect, onTestFinished, test } from 'vitest';
import { reaperChores, type ReaperOptions } from '../../src/maintenance/reaper.ts';
import type { ReplicaId } from '../../src/protocol/ids.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import type { Decision } from '../../src/store/decisions.ts';
import { campaign } from '../../src/store/orchestrator-lock.ts';
import { moveClock } from '../support/database-clock.ts';
import { ElectionRig } from '../support/electors.ts';
import { acquireItem, decide, makeQueues, onQueue } from '../support/sql-verbs.ts';

const options = { leaseMs: 10_000, clock: systemClock };

async function setup(more: Partial<ReaperOptions> = {}) {
  const rig = await ElectionRig.make();
  onTestFinished(() => rig[Symbol.asyncDispose]());
  const db = rig.lanes();
  const moved: Decision[] = [];
  const chores = reaperChores({ db, ...options, onMoved: (decisions) => moved.push(...decisions), ...more });
  const replicaId = 'a:1:x' as ReplicaId;
  return {
    rig,
    database: rig.database,
    moved,
    /** Campaigns at the database's present time and makes one round. */
    round: async (name: string, signal = new AbortController().signal) => {
      const { epoch } = await campaign(db, replicaId, 10_000, { timeoutMs: 2000 });
      const chore = chores.find((one) => one.name === name);
      if (chore === undefined) throw new Error(`no chore ${name}`);
      return chore.runOnce({ term: { replicaId, epoch }, signal });
    },
  };
}

test('one round cleans up 350 leases that ran out in 350 queues', async () => {
  const { database, moved, round } = await setup();
  const queues = Array.from({ length: 350 }, (_none, n) => `queue${n}`);
  await makeQueues(database, queues);
  await decide(
    database,
    queues.map((queue) => acquireItem(queue, 'claim', { ttl_ms: 1000 })),
    { wait: true },
  );
  await moveClock(database, 60_000);
  expect(await round('leases')).toEqual({ ended: 350 });
  expect(new Set(moved.map(({ queue }) => queue)).size).toBe(350);
  const { rows } = await database.query(`select distinct state, end_state, end_reason from signalbox.leases`);
  expect(rows).toEqual([{ state: 'free', end_state: 'expired', end_reason: 'expired' }]);
  expect(await round('leases')).toEqual({});
});

test('one round cleans up 350 leases that ran out in one queue', async () => {
  const { database, round } = await setup();
  await makeQueues(database, ['wide'], { concurrency_limit: null });
  const items = Array.from({ length: 350 }, (_none, n) => acquireItem('wide', `claim${n}`, { ttl_ms: 1000 }));
  await decide(database, items, { wait: true });
  await moveClock(database, 60_000);
  expect(await round('leases')).toEqual({ ended: 350 });
});

test('a line that the leader had to serve is told as recovered, with how many were granted', async () => {
  const { database, round } = await setup();
  await makeQueues(database, ['gone', 'well'], { concurrency_limit: 2 });
  for (const claim of ['a', 'b', 'c', 'd', 'e']) await onQueue(database, 'gone').acquire(claim, { ttl_ms: 1000 });
  await onQueue(database, 'well').acquire('a', { ttl_ms: 100_000 });
  await moveClock(database, 2000);
  await round('lines');
  const { rows } = await database.query(
    `select queue, data from signalbox.events where type = 'queue.recovered' order by queue`,
  );
  expect(rows).toEqual([{ queue: 'gone', data: { granted: 2 } }]);
});

test('leases that still run are left alone', async () => {
  const { database, moved, round } = await setup();
  await makeQueues(database, ['q']);
  await onQueue(database, 'q').hold('a');
  expect(await round('leases')).toEqual({});
  expect(moved).toEqual([]);
});

test('a place whose lease ran out goes to the head of the line, and its client is told', async () => {
  const { database, moved, round } = await setup();
  await makeQueues(database, ['q']);
  const q = onQueue(database, 'q');
  const [tokenOfA = 0] = await q.hold('a');
  await q.acquire('b', { listen_ms: 120_000 });
  await moveClock(database, 60_000);
  expect(await round('lines')).toEqual({ ended: 1, held: 1 });
  expect(await q.held()).toEqual(['b']);
  const granted = moved.find(({ code }) => code === 'held');
  expect(granted).toMatchObject({ queue: 'q', claim_id: 'b', body: { offered: false } });
  expect(granted?.body?.['fencing_token']).toBeGreaterThan(tokenOfA);
  expect((await q.renew('a', tokenOfA)).code).toBe('lease_lost');
});

test('a wake-up that was lost is made up for', async () => {
  const { database, moved, round } = await setup();
  await makeQueues(database, ['q']);
  const q = onQueue(database, 'q');
  await q.hold('a');
  await q.acquire('b');
  // A free place and somebody waiting: no path of ours leaves that behind.
  await database.query(`update signalbox.leases set state = 'free', ended_at = now(), end_state = 'released',
    end_reason = 'released'`);
  expect(await round('lines')).toEqual({ held: 1 });
  expect(await q.held()).toEqual(['b']);
  expect(moved).toMatchObject([{ code: 'held', queue: 'q', claim_id: 'b' }]);
});

test('P21, P22, P24: a round wakes exactly the queues that have a free place and a line, each for the oldest that waits', async () => {
  const { database, moved, round } = await setup();
  const names = ['free1', 'free2', 'busy', 'offered', 'paused', 'empty'];
  await makeQueues(database, names);
  for (const name of names) {
    const queue = onQueue(database, name);
    await queue.hold('going');
    if (name !== 'empty') for (const claim of ['oldest', 'younger']) await queue.acquire(claim, { listen_ms: 120_000 });
  }
  await onQueue(database, 'paused').configure({ paused: true });
  // Wake-ups that got lost; no path of ours leaves a free place beside a line.
  await database.query(`update signalbox.leases set state = 'free', ended_at = now(), end_state = 'released',
    end_reason = 'released' where queue in ('free1', 'free2', 'paused', 'empty')`);
  await database.query(`update signalbox.leases set offered = true where queue = 'offered'`);
  expect(await round('lines')).toEqual({ held: 2 });
  expect(moved.map(({ queue, claim_id }) => `${queue} ${claim_id}`).sort()).toEqual(['free1 oldest', 'free2 oldest']);
  for (const name of ['busy', 'offered']) expect(await onQueue(database, name).held()).toEqual(['going']);
  expect(await onQueue(database, 'paused').line()).toEqual(['oldest', 'younger']);
  expect(await round('lines')).toEqual({});
});

test('lines in 150 queues are all advanced in one round', async () => {
  const { database, round } = await setup();
  const queues = Array.from({ length: 150 }, (_none, n) => `queue${n}`);
  await makeQueues(database, queues);
  for (const claim of ['a', 'b'])
    await decide(
      database,
      queues.map((queue) => acquireItem(queue, claim, { ttl_ms: 1000, listen_ms: 120_000 })),
      { wait: true },
    );
  await moveClock(database, 60_000);
  expect(await round('lines')).toEqual({ ended: 150, held: 150 });
});

test('a waiting claim whose client went silent ends, one whose client listens stays', async () => {
  const { database, moved, round } = await setup();
  await makeQueues(database, ['q']);
  const q = onQueue(database, 'q');
  await q.hold('a');
  await q.acquire('silent', { listen_ms: 0 });
  await q.acquire('connected', { listen_ms: 0 });
  await moveClock(database, 61_000);
  await q.hear(['connected'], 30_000);
  expect(await round('silent')).toEqual({ ended: 1 });
  expect(await q.line()).toEqual(['connected']);
  expect(moved).toMatchObject([
    { code: 'ended', claim_id: 'silent', body: { state: 'expired', reason: 'waiting_ttl' } },
  ]);
});

test('a queue made on first use goes when it is idle, and its tokens still grow when it is made again', async () => {
  const { database, moved, round } = await setup();
  await makeQueues(database, ['idle', 'used']);
  const idle = onQueue(database, 'idle');
  const [token = 0] = await idle.hold('a');
  await idle.release('a', token);
  await moveClock(database, 2 * 3_600_000);
  await onQueue(database, 'used').hold('b');
  expect(await round('idle_queues')).toEqual({ deleted: 1 });
  expect(moved).toMatchObject([{ code: 'deleted', queue: 'idle' }]);
  await moveClock(database, 0);
  await makeQueues(database, ['idle']);
  const [again = 0] = await idle.hold('a2');
  expect(again).toBeGreaterThan(token);
});

test('M14: no clean-up takes what waits: after hours the claims that are listened for and the runs are in line', async () => {
  const { database, round } = await setup();
  await makeQueues(database, ['claims', 'runs', 'idle']);
  const claims = onQueue(database, 'claims');
  await claims.acquire('going', { ttl_ms: 300_000 });
  await claims.acquire('waits');
  await onQueue(database, 'runs').enqueue('run');
  await moveClock(database, 5 * 3_600_000);
  await claims.hear(['waits'], 60_000);
  expect(await round('silent')).toEqual({});
  expect(await round('idle_queues')).toEqual({ deleted: 1 });
  expect(await claims.line()).toEqual(['waits']);
  expect(await onQueue(database, 'runs').line('run')).toEqual(['run']);
});

test('replicas not heard for a day and terms long past are removed from the registers', async () => {
  const { database, round } = await setup();
  await database.query(`select signalbox_v1.report_replica('r' || n, '1.0.0', null) from generate_series(1, 120) n`);
  await moveClock(database, 25 * 3_600_000);
  await database.query(`select signalbox_v1.report_replica('alive', '1.0.0', null)`);
  expect(await round('registers')).toEqual({ removed: 120 });
  expect((await database.query('select replica_id from signalbox.replicas')).rows).toEqual([{ replica_id: 'alive' }]);
});

test('a round ends between two pages when its signal aborts', async () => {
  const stop = new AbortController();
  const { database, round } = await setup({ onMoved: () => stop.abort() });
  const queues = Array.from({ length: 250 }, (_none, n) => `queue${n}`);
  await makeQueues(database, queues);
  await decide(
    database,
    queues.map((queue) => acquireItem(queue, 'claim', { ttl_ms: 1000 })),
    { wait: true },
  );
  await moveClock(database, 60_000);
  expect(await round('leases', stop.signal)).toEqual({ ended: 100 });
});

test('a frequent chore whose period is not below the lease is refused', async () => {
  await using rig = await ElectionRig.make();
  const make = (periods: ReaperOptions['periods'], leaseMs = 10_000) =>
    reaperChores({ db: rig.lanes(), ...options, leaseMs, onMoved: () => undefined, ...(periods && { periods }) });
  expect(() => make({ lines: 10_000 })).toThrow(
    'the period of chore lines (10000 ms) must be below the lease (10000 ms)',
  );
  expect(() => make({ leases: 30_000 })).toThrow('must be below the lease');
  expect(make(undefined, 1000).map(({ name, periodMs }) => [name, periodMs])).toContainEqual(['leases', 500]);
});
