import { expect, onTestFinished, test } from 'vitest';
import type { Epoch, ReplicaId } from '../../src/protocol/ids.ts';
import { recordChore, sweepRegisters } from '../../src/store/chores.ts';
import { sweepIdleQueues, sweepLeases, sweepLines, sweepSilent, type Term } from '../../src/store/decisions.ts';
import { failureKind } from '../../src/store/failures.ts';
import { sweepPartitions } from '../../src/store/history-partitions.ts';
import { campaign, renewTerm, resign } from '../../src/store/orchestrator-lock.ts';
import { moveClock } from '../support/database-clock.ts';
import { ElectionRig } from '../support/electors.ts';

const [a, b] = ['a:1:x', 'b:1:x'] as ReplicaId[] as [ReplicaId, ReplicaId];
const leaseMs = 10_000;
const soon = { timeoutMs: 2000 };

/** `a` leads; a queue holds a lease that has run out, which a sweep would end. */
async function setup() {
  const rig = await ElectionRig.make();
  onTestFinished(() => rig[Symbol.asyncDispose]());
  const db = rig.lanes();
  const { database } = rig;
  await database.query(`select signalbox_v1.ensure_queues('{q}')`);
  await database.query(`select * from signalbox_v1.decide($1, true)`, [
    JSON.stringify([
      {
        op: 'acquire',
        queue: 'q',
        claim_id: 'c',
        holder: 'h',
        priority: 0,
        ttl_ms: 1000,
        mode: 'wait',
        labels: {},
        metadata: {},
        listen_ms: 0,
        fresh: true,
      },
    ]),
  ]);
  const term = async (replicaId: ReplicaId): Promise<Term> => {
    const outcome = await campaign(db, replicaId, leaseMs, soon);
    if (outcome.kind !== 'won') throw new Error(`${replicaId} did not win`);
    return { replicaId, epoch: outcome.epoch };
  };
  await moveClock(rig.database, 5000);
  const termOfA = await term(a);
  const lease = async () => (await database.query('select state, fencing_token from signalbox.leases')).rows[0];
  return { rig, db, term, termOfA, lease };
}

async function codeOf(work: Promise<unknown>): Promise<string | undefined> {
  try {
    await work;
    return undefined;
  } catch (error) {
    return (error as { code?: string }).code;
  }
}

test('with a sweep of the leader under way its own renewal passes at once and a takeover waits', async () => {
  const { rig, db, term, termOfA, lease } = await setup();
  const sweeper = await rig.database.connect();
  await sweeper.query('begin');
  await sweeper.query('select * from signalbox_v1.sweep_leases($1, $2)', [a, termOfA.epoch]);

  expect(await renewTerm(db, a, termOfA.epoch, leaseMs, soon)).toEqual({ kind: 'renewed' });

  await moveClock(rig.database, 60_000);
  // 55P03: it waited for the row until its lock timeout.
  expect(await codeOf(campaign(db, b, leaseMs, soon))).toBe('55P03');
  await sweeper.query('commit');
  expect(await term(b)).toEqual({ replicaId: b, epoch: termOfA.epoch + 1 });
  expect(await lease()).toMatchObject({ state: 'free' });
});

test('with a sweep of the leader under way giving up the term waits too', async () => {
  const { rig, db, termOfA } = await setup();
  const sweeper = await rig.database.connect();
  await sweeper.query('begin');
  await sweeper.query('select signalbox.require_term($1, $2)', [a, termOfA.epoch]);
  expect(await codeOf(resign(db, a, termOfA.epoch, soon))).toBe('55P03');
  await sweeper.query('commit');
  expect(await resign(db, a, termOfA.epoch, soon)).toEqual({ kind: 'resigned' });
});

test('no write of a leader that was paused across a takeover changes anything', async () => {
  const { rig, db, term, termOfA, lease } = await setup();
  await moveClock(rig.database, 60_000);
  await term(b);
  const before = await lease();
  const late: Record<string, () => Promise<unknown>> = {
    lines: () => sweepLines(db, termOfA, undefined),
    silent: () => sweepSilent(db, termOfA, undefined),
    leases: () => sweepLeases(db, termOfA, undefined),
    idle_queues: () => sweepIdleQueues(db, termOfA, 1, undefined),
    registers: () => sweepRegisters(db, termOfA),
    partitions: () => sweepPartitions(db, termOfA, 30),
    record: () => recordChore(db, termOfA, { chore: 'lines', durationMs: 1, counts: {}, error: null }),
  };
  for (const [name, write] of Object.entries(late)) {
    const error: unknown = await write().then(
      () => undefined,
      (thrown: unknown) => thrown,
    );
    expect([name, failureKind(error)]).toEqual([name, 'deposed']);
  }
  expect(await lease()).toEqual(before);
  expect((await rig.database.query('select from signalbox.chores')).rowCount).toBe(0);
  expect((await rig.database.query(`select from signalbox.queues`)).rowCount).toBe(1);
});

test('a leader whose lease has run out is refused even before anybody takes over', async () => {
  const { rig, db, termOfA, lease } = await setup();
  await moveClock(rig.database, 60_000);
  expect(await codeOf(sweepLeases(db, termOfA, undefined))).toBe('SB001');
  expect(await lease()).toMatchObject({ state: 'held' });
});

test('the right leader with a wrong epoch is refused', async () => {
  const { db, termOfA } = await setup();
  for (const epoch of [termOfA.epoch - 1, termOfA.epoch + 1])
    expect(await codeOf(sweepLeases(db, { replicaId: a, epoch: epoch as Epoch }, undefined))).toBe('SB001');
});
