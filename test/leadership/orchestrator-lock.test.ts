import { expect, onTestFinished, test } from 'vitest';
import type { Epoch, ReplicaId } from '../../src/protocol/ids.ts';
import type { Database } from '../../src/store/database.ts';
import { campaign, readLeader, renewTerm, resign } from '../../src/store/orchestrator-lock.ts';
import { moveClock } from '../support/database-clock.ts';
import { ElectionRig } from '../support/electors.ts';

const [a, b] = ['a:1:x', 'b:1:x'] as ReplicaId[] as [ReplicaId, ReplicaId];
const leaseMs = 10_000;
const soon = { timeoutMs: 2000 };

async function setup() {
  const rig = await ElectionRig.make();
  onTestFinished(() => rig[Symbol.asyncDispose]());
  const db = rig.lanes();
  const won = async (who: ReplicaId, lanes: Database = db) => {
    const outcome = await campaign(lanes, who, leaseMs, soon);
    if (outcome.kind !== 'won') throw new Error(`${who} did not win`);
    return outcome.epoch;
  };
  return { rig, db, won };
}

test('a free row is taken, a fresh one is not', async () => {
  const { rig, db, won } = await setup();
  expect(await readLeader(db, soon)).toBeUndefined();
  const epoch = await won(a);
  expect(await campaign(db, b, leaseMs, soon)).toMatchObject({ kind: 'led_by_other', leader: a, epoch });
  expect(await rig.row()).toEqual({ leader: a, epoch, fresh: true });
  expect(await readLeader(db, soon)).toMatchObject({ leader: a, epoch });
});

test('the leader campaigning on its own fresh term loses, and renewing is how it stays', async () => {
  const { rig, db, won } = await setup();
  const epoch = await won(a);
  expect(await campaign(db, a, leaseMs, soon)).toMatchObject({ kind: 'led_by_other', leader: a });
  await moveClock(rig.database, 8000);
  expect(await renewTerm(db, a, epoch, leaseMs, soon)).toEqual({ kind: 'renewed' });
  await moveClock(rig.database, 16_000);
  expect(await campaign(db, b, leaseMs, soon)).toMatchObject({ kind: 'led_by_other', leader: a });
});

test('an expired term is taken with the next epoch, and its leader is told so', async () => {
  const { rig, db, won } = await setup();
  const first = await won(a);
  await moveClock(rig.database, leaseMs + 20_000);
  const second = await won(b);
  expect(second).toBe(first + 1);
  expect(await renewTerm(db, a, first, leaseMs, soon)).toEqual({ kind: 'deposed' });
  expect(await resign(db, a, first, soon)).toEqual({ kind: 'not_leading' });
  expect(await rig.row()).toEqual({ leader: b, epoch: second, fresh: true });
});

test('a term that lapsed and that nobody took is revived by renewing', async () => {
  const { rig, db, won } = await setup();
  const epoch = await won(a);
  await moveClock(rig.database, leaseMs + 1000);
  expect(await renewTerm(db, a, epoch, leaseMs, soon)).toEqual({ kind: 'renewed' });
  expect(await rig.row()).toEqual({ leader: a, epoch, fresh: true });
});

test('a wrong epoch or a stranger renews nothing and resigns nothing', async () => {
  const { rig, db, won } = await setup();
  const epoch = await won(a);
  const before = (await rig.database.query('select * from signalbox.orchestrator_lock')).rows;
  for (const [who, number] of [
    [a, epoch - 1],
    [a, epoch + 1],
    [b, epoch],
  ] as [ReplicaId, Epoch][]) {
    expect(await renewTerm(db, who, number, leaseMs, soon)).toEqual({ kind: 'deposed' });
    expect(await resign(db, who, number, soon)).toEqual({ kind: 'not_leading' });
  }
  expect((await rig.database.query('select * from signalbox.orchestrator_lock')).rows).toEqual(before);
});

test('a resigned term is free at once, and the epoch still grows', async () => {
  const { rig, db, won } = await setup();
  const first = await won(a);
  expect(await resign(db, a, first, soon)).toEqual({ kind: 'resigned' });
  expect(await renewTerm(db, a, first, leaseMs, soon)).toEqual({ kind: 'deposed' });
  expect(await won(b)).toBe(first + 1);
  const { rows } = await rig.database.query('select epoch, leader, end_reason from signalbox.terms order by epoch');
  expect(rows).toEqual([
    { epoch: `${first}`, leader: a, end_reason: 'resigned' },
    { epoch: `${first + 1}`, leader: b, end_reason: null },
  ]);
});

test('a missing row is made again above every epoch there was', async () => {
  const { rig, db, won } = await setup();
  const first = await won(a);
  await rig.database.query('delete from signalbox.orchestrator_lock');
  expect(await renewTerm(db, a, first, leaseMs, soon)).toEqual({ kind: 'deposed' });
  expect(await won(b)).toBe(first + 1);
});

test('a second row is refused', async () => {
  const { rig, won } = await setup();
  await won(a);
  await expect(
    rig.database.query(`insert into signalbox.orchestrator_lock (id, acquired_at, renewed_at, expires_at)
      values (2, now(), now(), now())`),
  ).rejects.toMatchObject({ code: '23514', constraint: 'orchestrator_lock_has_one_row' });
});

test.each(['', '   '])('a blank replica id %j is refused', async (blank) => {
  const { db } = await setup();
  await expect(campaign(db, blank as ReplicaId, leaseMs, soon)).rejects.toMatchObject({ code: '22023' });
});

test.each([0, -1])('a lease of %i ms is refused', async (lease) => {
  const { db } = await setup();
  await expect(campaign(db, a, lease, soon)).rejects.toMatchObject({ code: '22023' });
});

test('fifty connections racing for fifty free rows have exactly one winner each, and the epoch only grows', async () => {
  const { rig } = await setup();
  const clients = await Promise.all(Array.from({ length: 50 }, () => rig.database.connect()));
  let last = 0;
  for (let round = 0; round < 50; round++) {
    const outcomes = await Promise.allSettled(
      clients.map((client, n) =>
        client.query<{ won: boolean; epoch: string }>('select won, epoch from signalbox_v1.campaign($1, $2)', [
          `racer${n}`,
          leaseMs,
        ]),
      ),
    );
    const winners = outcomes.flatMap((outcome, n) =>
      outcome.status === 'fulfilled' && outcome.value.rows[0]?.won === true
        ? [{ n, epoch: Number(outcome.value.rows[0].epoch) }]
        : [],
    );
    expect(winners).toHaveLength(1);
    const [{ n, epoch }] = winners as [{ n: number; epoch: number }];
    expect(epoch).toBe(last + 1);
    last = epoch;
    await rig.database.query('select signalbox_v1.resign($1, $2)', [`racer${n}`, epoch]);
  }
});
