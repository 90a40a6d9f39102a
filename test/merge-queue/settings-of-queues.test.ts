import { expect, test } from 'vitest';
import { mergeQueueId, parseMergeQueueName, providerId } from '../../src/protocol/merge-queue.ts';
import { freshDatabase } from '../support/database.ts';
import { rowsOf } from '../support/sql-verbs.ts';
import { aGate } from './support/gate.ts';
import { Builds, aMergeQueue, openReplica, outcomeOf } from './support/service.ts';
import { atOnce, aRace } from './support/race.ts';

test('settings change live, both ways', async () => {
  await using race = await aRace({});
  const configure = (change: object) =>
    race.quickReplica.queues.configure(race.quick.id, change, { ifVersion: undefined, actor: undefined });
  await configure({ stabilisation_ms: 600_000, expected_count: 5 });
  expect(outcomeOf(await race.slow.poll(1))).toBe('pending');
  await configure({ expected_count: 1 });
  expect(outcomeOf(await race.slow.poll(1))).toBe('acquired');
  await configure({ require_token: true });
  expect(outcomeOf(await race.slow.release(1, 'success'))).toBe('token_required');
  await configure({ require_token: false, expected_count: 3 });
  expect(outcomeOf(await race.slow.release(1, 'success'))).toBe('completed');
  expect(outcomeOf(await race.slow.poll(2))).toBe('pending');
});

test('a merge queue nobody configured follows the defaults of the replica that is asked; a configured one does not', async () => {
  await using db = await freshDatabase();
  await using patient = openReplica(db, { settings: { expected_count: 4 } });
  await using prompt = openReplica(db, { settings: { ...atOnce, require_token: true } });
  const [slow, quick] = [new Builds([patient]), new Builds([prompt])];
  expect(outcomeOf(await slow.poll(1))).toBe('pending');
  const acquired = await quick.poll(1);
  expect(outcomeOf(acquired)).toBe('acquired');
  expect(outcomeOf(await quick.release(1, 'success'))).toBe('token_required');
  expect((await slow.show()).settings.expected_count).toBe(4);
  expect((await quick.show()).settings.expected_count).toBe(1);
  await slow.release(1, 'success');
  await patient.queues.configure(slow.id, {}, { ifVersion: undefined, actor: undefined });
  // As the last one who wrote had it.
  expect((await quick.show()).settings.expected_count).toBe(4);
  expect(outcomeOf(await quick.poll(2))).toBe('pending');
});

/** Of a merge queue made on first use only some settings are in storage. */
const ownDefaults = {
  expected_count: 1,
  hold_ttl_ms: 77_000,
  require_token: true,
  success_completes: 'contained',
} as const;

test('configuring a merge queue made on first use keeps the defaults of the caller for what it does not name', async () => {
  await using db = await freshDatabase();
  await using other = openReplica(db);
  await using replica = openReplica(db, { settings: ownDefaults });
  const { id } = new Builds([other]);
  await new Builds([other]).poll(1);
  const configure = (change: object) =>
    replica.queues.configure(id, change, { ifVersion: undefined, actor: undefined });
  expect(await configure({ ttl_ms: 5000 })).toMatchObject({ ...ownDefaults, ttl_ms: 5000, auto_created: false });
  expect((await other.queues.show(id))?.settings).toMatchObject({ ...ownDefaults, ttl_ms: 5000 });
  // From then on it keeps what it has, whatever the defaults of whoever changes it.
  await other.queues.configure(id, { ttl_ms: 6000 }, { ifVersion: undefined, actor: undefined });
  expect(await replica.queues.detail(id)).toMatchObject({ ...ownDefaults, ttl_ms: 6000 });
});

test('a merge queue made on first use is shown with the defaults, one by one and in the list; a configured one is not', async () => {
  await using db = await freshDatabase();
  await using replica = openReplica(db, { settings: ownDefaults });
  await using other = openReplica(db);
  const [made, configured] = [aMergeQueue('made'), aMergeQueue('configured')];
  await new Builds([other], made).poll(1);
  await other.queues.configure(configured, {}, { ifVersion: undefined, actor: undefined });
  const { merge_queues: page } = await replica.queues.page({ prefix: 'merge-queue/', cursor: '', limit: 10 });
  expect(page.map(({ base_ref: baseRef }) => baseRef)).toEqual(['configured', 'made']);
  expect(page[1]).toMatchObject({ ...ownDefaults, auto_created: true });
  expect(await replica.queues.detail(made)).toMatchObject(ownDefaults);
  expect(page[0]).toMatchObject({ expected_count: 4, hold_ttl_ms: null, require_token: false, auto_created: false });
});

test('the list has all merge queues, and is read in pages', async () => {
  await using db = await freshDatabase();
  const gate = aGate();
  await using replica = openReplica(db, { intercept: gate.intercept });
  await db.query(`insert into signalbox.merge_queues (queue, owner, repo, base_ref, stabilisation_ms, ttl_ms,
      expected_count, delay_count, window_started_at, used_at, created_at, updated_at)
    select 'merge-queue/o/r/b' || n, 'o', 'r', 'b' || n, 1, 1, 1, 0, now(), now(), now(), now()
    from generate_series(1, 250) n`);
  const listed = await replica.queues.list('merge-queue/');
  expect(new Set(listed.map(({ id }) => id.baseRef)).size).toBe(250);
  expect(listed).toHaveLength(250);
  expect(gate.count('starts_with')).toBe(3);
  expect(await replica.queues.list('merge-queue/o/r/b25')).toHaveLength(2);
});

test('every name that merge queues are stored under is understood again', async () => {
  await using race = await aRace();
  for (const baseRef of ['main', 'release/1.2', 'a/b/c', '@x:y', '-'])
    expect(outcomeOf(await new Builds([race.quickReplica], aMergeQueue(baseRef)).poll(1))).toBe('acquired');
  const names = await rowsOf<{ queue: string; base_ref: string }>(
    race.db,
    'select queue, base_ref from signalbox.merge_queues',
  );
  expect(names).toHaveLength(5);
  for (const { queue, base_ref: baseRef } of names) expect(parseMergeQueueName(queue)).toEqual(aMergeQueue(baseRef));
});

test.each([
  ['a:b', 'c'],
  ['a', 'b:c'],
])('owner %s with repo %s names no merge queue: the provider ids of two would be the same', (owner, repo) => {
  expect(mergeQueueId(owner, repo, 'main')).toBeUndefined();
  expect(parseMergeQueueName(`merge-queue/${owner}/${repo}/main`)).toBeUndefined();
  const inBaseRef = mergeQueueId('a', 'b', 'c:main');
  expect(inBaseRef && providerId(inBaseRef)).toBe('a:b:c:main');
});
