import { expect, test } from 'vitest';
import { ElectionRig, type TestElector } from '../support/electors.ts';
import { TcpProxy } from '../support/tcp-proxy.ts';
import { until } from '../support/until.ts';
import { StallMeter } from '../support/stalls.ts';

/** Timers are late on a busy machine; the third of the lease behind the trust window is there for that. */
const lateMs = 150;

/** Waits for the end of the term's service; how long its trust had been over by then, and whether the row was still its own. */
async function servicesStop(rig: ElectionRig, { elector, services, replicaId }: TestElector) {
  const trustEndsAtMs = performance.now() + elector.status().trustedForMs;
  const stoppedAtMs = await until(() => services[0]?.stoppedAtMs, { what: 'the service stops' });
  const { leader, fresh } = await rig.row();
  return { afterTrustMs: stoppedAtMs - trustEndsAtMs, stillOwnsRow: leader === replicaId && fresh };
}

test('a leader that gets no answer stops its services while the row is still its own', async () => {
  await using rig = await ElectionRig.make();
  await using proxy = await TcpProxy.to(rig.database.url);
  const a = rig.elector('a', { db: rig.lanes(proxy.through(rig.database.url)) });
  await a.elector.start();
  await a.leads();
  proxy.freeze();
  const { afterTrustMs, stillOwnsRow } = await servicesStop(rig, a);
  expect(afterTrustMs).toBeLessThan(lateMs);
  expect(stillOwnsRow).toBe(true);
  expect(a.services[0]?.context.signal.aborted).toBe(true);
  expect(a.elector.status()).toMatchObject({ role: 'follower', trustedForMs: 0 });
  expect(a.elector.status().lastError).not.toBeNull();
  proxy.thaw();
});

test('a leader whose renewals are held up by a lock says so, and stops before its lease ends', async () => {
  await using rig = await ElectionRig.make();
  const a = rig.elector('a', { leaseMs: 3000 });
  await a.elector.start();
  await a.leads();
  const blocker = await rig.database.connect();
  await blocker.query('begin');
  await blocker.query('select 1 from signalbox.orchestrator_lock for update');
  await until(() => a.elector.status().role === 'leader_cannot_renew', { what: 'a renewal has failed' });
  const { afterTrustMs, stillOwnsRow } = await servicesStop(rig, a);
  expect(afterTrustMs).toBeLessThan(lateMs);
  expect(stillOwnsRow).toBe(true);
  await blocker.query('rollback');
  expect(await a.termEnded()).toBe('trust_ended');
});

test('a renewal broken off inside the trust window is tried again and the term goes on', async () => {
  await using rig = await ElectionRig.make();
  const a = rig.elector('a', { leaseMs: 3000 });
  await a.elector.start();
  const epoch = await a.leads();
  const renewedAt = async () =>
    (await rig.database.query<{ at: string }>('select renewed_at::text as at from signalbox.orchestrator_lock')).rows[0]
      ?.at;
  const before = await renewedAt();
  const blocker = await rig.database.connect();
  await blocker.query('begin');
  await blocker.query('select 1 from signalbox.orchestrator_lock for update');
  // The answer of the one under way stays unknown.
  await until(
    async () =>
      (
        await rig.database.query(`select pg_terminate_backend(pid) from pg_stat_activity
        where datname = current_database() and query like '%renew_term%' and wait_event_type = 'Lock'`)
      ).rowCount,
    { what: 'a waiting renewal is terminated' },
  );
  await until(() => a.elector.status().role === 'leader_cannot_renew', { what: 'the failure is seen' });
  await blocker.query('rollback');
  await until(async () => (await renewedAt()) !== before, { what: 'the term is renewed' });
  await until(() => a.elector.status().role === 'leader', { what: 'it leads as before' });
  expect(a.elector.status()).toMatchObject({ epoch, lastError: null });
});

test('when the leader is cut off another leads within the lease and a second', async () => {
  await using rig = await ElectionRig.make();
  await using proxy = await TcpProxy.to(rig.database.url);
  const leaseMs = 1500;
  const a = rig.elector('a', { leaseMs, db: rig.lanes(proxy.through(rig.database.url)) });
  const b = rig.elector('b', { leaseMs });
  await a.elector.start();
  await a.leads();
  await b.elector.start();
  proxy.freeze();
  await using stalls = new StallMeter(() => rig.database.query('select 1'));
  const cutAtMs = performance.now();
  expect(await b.leads()).toBe(2);
  expect(performance.now() - cutAtMs).toBeLessThan(leaseMs + 1000 + 3 * stalls.worstMs);
  expect(a.elector.status().role).toBe('follower');
  expect(a.services[0]?.stoppedAtMs).toBeLessThan(b.services[0]?.startedAtMs ?? 0);
  proxy.thaw();
});

test('an elector that stops while the database does not answer ends within its budget, and says what failed', async () => {
  await using rig = await ElectionRig.make();
  await using proxy = await TcpProxy.to(rig.database.url);
  const a = rig.elector('a', { leaseMs: 60_000, db: rig.lanes(proxy.through(rig.database.url)) });
  await a.elector.start();
  await a.leads();
  proxy.freeze();
  const atMs = performance.now();
  await a.elector.stop();
  expect(performance.now() - atMs).toBeLessThan(3000);
  const failures = a.events.filter((event) => event.kind === 'leadership.attempt_failed');
  expect(failures.map(({ attempt }) => attempt)).toEqual(['resign', 'resign', 'resign']);
  proxy.thaw();
});
