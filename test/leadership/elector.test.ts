import { expect, test } from 'vitest';
import type { ReplicaId } from '../../src/protocol/ids.ts';
import { moveClock } from '../support/database-clock.ts';
import { ElectionRig } from '../support/electors.ts';
import { StallMeter } from '../support/stalls.ts';
import { stressService } from '../support/stress-service.ts';
import { until } from '../support/until.ts';

test('an elector alone leads, runs its services, and gives the term up when it stops', async () => {
  await using rig = await ElectionRig.make();
  const { elector, replicaId, leads, events, services } = rig.elector('a');
  expect(elector.status()).toEqual({ role: 'follower', epoch: null, trustedForMs: 0, lastError: null });
  await elector.start();
  expect(await leads()).toBe(1);
  expect(elector.status()).toMatchObject({ role: 'leader', epoch: 1, lastError: null });
  expect(elector.status().trustedForMs).toBeGreaterThan(0);
  expect(elector.status().trustedForMs).toBeLessThanOrEqual(1000);
  expect(services).toMatchObject([{ context: { term: { replicaId, epoch: 1 } }, stoppedAtMs: undefined }]);

  await elector.stop();
  expect(events.map(({ kind }) => kind)).toEqual(['term.started', 'term.ended', 'term.resigned']);
  expect(services[0]?.context.signal.aborted).toBe(true);
  expect(services[0]?.stoppedAtMs).toBeDefined();
  expect(await rig.row()).toEqual({ leader: '', epoch: 1, fresh: false });
});

test('a leader that renews keeps its term beyond the first lease', async () => {
  await using rig = await ElectionRig.make();
  const { elector, leads, events } = rig.elector('a', { leaseMs: 600 });
  await elector.start();
  await leads();
  await until(
    async () =>
      (
        await rig.database.query(
          `select 1 from signalbox.orchestrator_lock where renewed_at > acquired_at + interval '1200 ms'`,
        )
      ).rowCount,
    { what: 'the term is twice as old as its lease' },
  );
  expect(elector.status()).toMatchObject({ role: 'leader', epoch: 1 });
  expect(events).toHaveLength(1);
});

test('the leader that stops hands over within a second', async () => {
  await using rig = await ElectionRig.make();
  const [a, b] = [rig.elector('a', { leaseMs: 10_000 }), rig.elector('b', { leaseMs: 10_000 })];
  await a.elector.start();
  await a.leads();
  await b.elector.start();
  await using stalls = new StallMeter(() => rig.database.query('select 1'));
  await a.elector.stop();
  const stoppedAtMs = performance.now();
  expect(await b.leads()).toBe(2);
  expect(performance.now() - stoppedAtMs).toBeLessThan(1000 + 3 * stalls.worstMs);
  expect(a.elector.status().role).toBe('follower');
});

test('an elector stopped before it started, or twice, does nothing', async () => {
  await using rig = await ElectionRig.make();
  const { elector, events } = rig.elector('a');
  await elector.stop();
  await elector.start();
  await Promise.all([elector.stop(), elector.stop()]);
  expect(events.filter(({ kind }) => kind === 'term.started').length).toBeLessThanOrEqual(1);
  expect((await rig.row()).fresh).toBe(false);
});

test('a campaign that wins after stop() is resigned', async () => {
  await using rig = await ElectionRig.make();
  const { elector, services, events } = rig.elector('a', { leaseMs: 20_000 });
  await rig.database.query(`select signalbox_v1.resign('other', epoch) from signalbox_v1.campaign('other', 1000)`);
  const blocker = await rig.database.connect();
  await blocker.query('begin');
  await blocker.query('select 1 from signalbox.orchestrator_lock for update');
  await elector.start();
  await until(
    async () =>
      (
        await rig.database.query(`select 1 from pg_stat_activity where datname = current_database()
        and query like '%campaign%' and wait_event_type = 'Lock'`)
      ).rowCount,
    { what: 'the campaign waits for the row' },
  );
  const stopped = elector.stop();
  await blocker.query('rollback');
  await stopped;
  expect(await rig.row()).toMatchObject({ leader: '', fresh: false });
  expect(services).toEqual([]);
  expect(events.filter(({ kind }) => kind === 'term.service_failed')).toEqual([]);
});

test('a term in its own name that it does not know of is resigned, not waited for', async () => {
  await using rig = await ElectionRig.make();
  const { elector, replicaId, leads } = rig.elector('a');
  // The campaign of an attempt whose answer was lost.
  await rig.database.query('select * from signalbox_v1.campaign($1, 60000)', [replicaId]);
  await elector.start();
  expect(await leads()).toBe(2);
  const { rows } = await rig.database.query('select end_reason from signalbox.terms where epoch = 1');
  expect(rows).toEqual([{ end_reason: 'resigned' }]);
});

test('a deposed leader stops its services and follows', async () => {
  await using rig = await ElectionRig.make();
  const { elector, leads, termEnded, services } = rig.elector('a');
  await elector.start();
  await leads();
  await moveClock(rig.database, 60_000);
  await rig.database.query(`select * from signalbox_v1.campaign('other', 60000)`);
  expect(await termEnded()).toBe('deposed');
  expect(services).toHaveLength(1);
  expect(services[0]?.stoppedAtMs).toBeDefined();
  expect(elector.status().role).toBe('follower');
  expect(await rig.row()).toMatchObject({ leader: 'other', fresh: true });
});

test('a write refused as deposed ends the term at once', async () => {
  await using rig = await ElectionRig.make();
  const { elector, leads, events, services } = rig.elector('a', { leaseMs: 60_000 });
  await elector.start();
  await leads();
  const [service] = services;
  service?.context.reportDeposed(new Error('SB001'));
  expect(service?.context.signal.aborted).toBe(true);
  expect(elector.status().role).toBe('follower');
  expect(events.map(({ kind }) => kind)).toContain('term.write_refused');
});

test('a term whose services cannot start is given up for others', async () => {
  await using rig = await ElectionRig.make();
  const bad = rig.elector('bad', {
    leaseMs: 60_000,
    services: () => {
      throw new Error('no disk');
    },
  });
  const good = rig.elector('good', { leaseMs: 60_000 });
  await bad.elector.start();
  expect(await bad.termEnded()).toBe('service_failed');
  await good.elector.start();
  await good.leads();
  expect(bad.elector.status().role).toBe('follower');
});

test('a nudged follower looks at once', async () => {
  await using rig = await ElectionRig.make();
  await rig.database.query(`select * from signalbox_v1.campaign('other', 60000)`);
  const { elector, leads } = rig.elector('a', { leaseMs: 60_000 });
  await elector.start();
  await rig.database.query(`select signalbox_v1.resign('other', 1)`);
  elector.nudge();
  await leads();
});

test('a blank replica id and a lease of nothing are refused', async () => {
  await using rig = await ElectionRig.make();
  expect(() => rig.elector('a', { replicaId: ' ' as ReplicaId })).toThrow('must not be blank');
  expect(() => rig.elector('a', { leaseMs: 0 })).toThrow('must be a whole number of ms above 0');
});

test('starting and stopping from all sides leaves no term and no service behind', async () => {
  await using rig = await ElectionRig.make();
  const { elector, services, events } = rig.elector('a');
  await stressService(elector);
  expect(elector.status().role).toBe('follower');
  expect((await rig.row()).leader).toBe('');
  expect(
    services.filter(({ startedAtMs, stoppedAtMs }) => startedAtMs !== undefined && stoppedAtMs === undefined),
  ).toEqual([]);
  const kinds = events.map(({ kind }) => kind);
  expect(kinds.filter((kind) => kind === 'term.ended')).toHaveLength(
    kinds.filter((kind) => kind === 'term.started').length,
  );
});
