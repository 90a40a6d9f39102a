import { expect, onTestFinished, test } from 'vitest';
import { ReplicaRegister } from '../../src/leadership/replica-register.ts';
import type { LeadershipEvent } from '../../src/leadership/events.ts';
import type { ReplicaId } from '../../src/protocol/ids.ts';
import { ElectionRig } from '../support/electors.ts';
import { stressService } from '../support/stress-service.ts';
import { until } from '../support/until.ts';

async function setup(reportEveryMs: number) {
  const rig = await ElectionRig.make();
  onTestFinished(() => rig[Symbol.asyncDispose]());
  const events: LeadershipEvent[] = [];
  const register = new ReplicaRegister({
    db: rig.lanes(),
    replicaId: 'a:1:x' as ReplicaId,
    version: '1.2.3',
    url: () => 'http://here:8080',
    reportEveryMs,
    onEvent: (event) => events.push(event),
  });
  const rows = async () =>
    (await rig.database.query<{ heard_at: Date }>('select replica_id, version, url, heard_at from signalbox.replicas'))
      .rows;
  return { rig, register, events, rows };
}

test('a replica reports itself at its start, again and again, and retires when it stops', async () => {
  const { register, rows } = await setup(50);
  await register.start();
  const [first] = await until(async () => ((await rows()).length === 1 ? rows() : undefined), {
    what: 'it is reported',
  });
  expect(first).toMatchObject({ replica_id: 'a:1:x', version: '1.2.3', url: 'http://here:8080' });
  await until(async () => Number((await rows())[0]?.heard_at) > Number(first?.heard_at), { what: 'it is heard again' });
  await register.stop();
  expect(await rows()).toEqual([]);
});

test('a report that fails is told, and the next one comes', async () => {
  const { rig, register, events, rows } = await setup(50);
  await rig.database.query('alter table signalbox.replicas rename to replicas_away');
  await register.start();
  await until(() => events.length > 0, { what: 'the failure is told' });
  await rig.database.query('alter table signalbox.replicas_away rename to replicas');
  await until(async () => (await rows()).length, { what: 'it is reported' });
  expect(events[0]?.kind).toBe('replica.report_failed');
  await register.stop();
});

test('starting and stopping from all sides leaves no row behind', async () => {
  const { register, events, rows } = await setup(5000);
  await stressService(register);
  expect(await rows()).toEqual([]);
  expect(events).toEqual([]);
});
