import { expect, test } from 'vitest';
import { rowsOf } from '../support/sql-verbs.ts';
import { outcomeOf, tokenOf } from './support/service.ts';
import { aRace, grantsOf } from './support/race.ts';

test('a merge queue deleted in the middle of a decision is made anew by it, with a higher token', async () => {
  await using race = await aRace();
  const first = tokenOf(await race.quick.poll(9));
  await race.quick.release(9, 'failure');
  const stands = race.gate.stopBefore('save_merge_queue');
  const slow = race.slow.poll(1);
  await stands;
  await race.quickReplica.queues.remove(race.quick.id, { force: false, ifVersion: undefined, actor: 'ops' });
  race.gate.open();
  expect(tokenOf(await slow)).toBeGreaterThan(first);
  expect(race.gate.count('read_merge_queue')).toBe(2);
});

test('a merge queue deleted and made anew in the middle of a decision is another one, though it was written as often', async () => {
  await using race = await aRace();
  await race.quick.poll(9);
  await race.quick.release(9, 'failure');
  const stands = race.gate.stopBefore('save_merge_queue');
  const slow = race.slow.poll(1);
  await stands;
  await race.quickReplica.queues.remove(race.quick.id, { force: true, ifVersion: undefined, actor: 'ops' });
  // As many writes as the deleted one had when the decision was made, and somebody has the lease.
  await race.quick.renew(2, tokenOf(await race.quick.poll(2)));
  race.gate.open();
  expect(outcomeOf(await slow)).toBe('lease_taken');
  expect(await grantsOf(race.db)).toEqual(['sha2 acquired']);
});

test('a merge queue in use is not deleted, but by force: then its holder is told that the lease is lost', async () => {
  await using race = await aRace();
  const token = tokenOf(await race.quick.poll(1));
  const remove = (force: boolean) =>
    race.quickReplica.queues.remove(race.quick.id, { force, ifVersion: undefined, actor: 'ops' });
  await expect(remove(false)).rejects.toMatchObject({ code: 'merge_queue_in_use' });
  await remove(true);
  expect(await race.quick.renew(1, token)).toMatchObject({ refusal: 'lease_lost', reason: 'cleared' });
  expect(await race.quick.release(1, 'success', { fencingToken: token })).toMatchObject({
    refusal: 'ended_otherwise',
    reason: 'cleared',
  });
  await expect(remove(true)).rejects.toMatchObject({ code: 'merge_queue_not_found' });
  expect(tokenOf(await race.quick.poll(1))).toBeGreaterThan(token);
});

test('deleting by force clears again what registers in between: it is in the history, and its holder is told', async () => {
  await using race = await aRace();
  const tokens = [tokenOf(await race.quick.poll(1))];
  const stands = race.gate.stopBefore('delete_merge_queue');
  const removed = race.slow.next().remove(race.slow.id, { force: true, ifVersion: undefined, actor: 'ops' });
  await stands;
  tokens.push(tokenOf(await race.quick.poll(2)));
  race.gate.open();
  await removed;
  expect(await rowsOf(race.db, 'select from signalbox.merge_queues')).toHaveLength(0);
  for (const [index, token] of tokens.entries())
    expect(await race.quick.renew(index + 1, token)).toMatchObject({ refusal: 'lease_lost', reason: 'cleared' });
});
