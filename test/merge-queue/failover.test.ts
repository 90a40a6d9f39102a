import { expect, test } from 'vitest';
import { failOver } from '../support/failover.ts';
import { rowsOf } from '../support/sql-verbs.ts';
import { aRace, grantsOf } from './support/race.ts';
import { outcomeOf, waitOf } from './support/service.ts';
import { stopClock } from './support/virtual-clock.ts';

test('after a failover no build gets the lease for as long as a lost holder may be silent', async () => {
  await using race = await aRace();
  const clock = await stopClock(race.db);
  await race.quick.poll(1, { holdTtlMs: 60_000 });
  await race.quick.release(1, 'failure');
  await failOver(race.db);
  // It asks for longer than the queue says; what others may have asked for before is forgotten.
  const asks = () => race.slow.poll(2, { holdTtlMs: 5_000_000 });
  expect(waitOf(await asks()).waitingFor).toBe('quarantine');
  expect(await rowsOf(race.db, 'select waiting_for from signalbox_v1.merge_requests where position = 1')).toEqual([
    { waiting_for: 'quarantine' },
  ]);
  await clock.pass(4_999_999);
  expect(waitOf(await asks()).waitingFor).toBe('quarantine');
  await clock.pass(1);
  expect(outcomeOf(await asks())).toBe('acquired');
});

test('the holder that survived renews, and what an operator accepts is over', async () => {
  await using race = await aRace();
  await race.quick.poll(1, { requestId: 'one' });
  await failOver(race.db);
  expect(outcomeOf(await race.quick.poll(1, { requestId: 'one' }))).toBe('acquired');
  await race.quick.release(1, 'failure');
  expect(waitOf(await race.quick.poll(2)).waitingFor).toBe('quarantine');
  await race.db.query(`select signalbox_v1.accept_failover('operator')`);
  expect(outcomeOf(await race.quick.poll(2))).toBe('acquired');
});

test('a decision that was made before the failover is made again after it', async () => {
  await using race = await aRace();
  const stands = race.gate.stopBefore('save_merge_queue');
  const slow = race.slow.poll(1);
  await stands;
  await failOver(race.db);
  race.gate.open();
  expect(waitOf(await slow).waitingFor).toBe('quarantine');
  expect(race.gate.count('read_merge_queue')).toBe(2);
  expect(await grantsOf(race.db)).toEqual([]);
});
