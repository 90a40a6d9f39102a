import { expect, test } from 'vitest';
import { SignalboxError } from '../../src/protocol/errors.ts';
import { Database, type Lane } from '../../src/store/database.ts';
import { freshDatabase } from '../support/database.ts';
import { rowsOf } from '../support/sql-verbs.ts';
import { Builds, openReplica, outcomeOf, tokenOf } from './support/service.ts';
import { atOnce, aRace, grantsOf } from './support/race.ts';

test('a client that hung up before its call was decided is given nothing, and its neighbours are answered', async () => {
  await using race = await aRace();
  const client = new AbortController();
  const stands = race.gate.stopBefore('read_merge_queue');
  const gone = race.slow.poll(2, { signal: client.signal });
  await stands;
  const neighbour = race.slow.poll(1);
  client.abort();
  race.gate.open();
  await expect(gone).rejects.toMatchObject({ name: 'AbortError' });
  expect(outcomeOf(await neighbour)).toBe('acquired');
  expect(await grantsOf(race.db)).toEqual(['sha1 acquired']);
  expect((await race.quick.brief()).known).toEqual(['sha1 acquired']);
});

test('a client that hung up before its call was decided leaves an unused merge queue unmade', async () => {
  await using race = await aRace();
  const client = new AbortController();
  const stands = race.gate.stopBefore('read_merge_queue');
  const gone = race.slow.poll(1, { signal: client.signal });
  await stands;
  client.abort();
  race.gate.open();
  await expect(gone).rejects.toMatchObject({ name: 'AbortError' });
  expect(race.gate.count('save_merge_queue')).toBe(0);
  expect(await rowsOf(race.db, 'select from signalbox.merge_queues')).toHaveLength(0);
});

test('a client that hung up while others wrote first is given nothing when it is decided again', async () => {
  await using race = await aRace();
  await race.quick.polls(9);
  const client = new AbortController();
  await race.quick.release(9, 'failure');
  const stands = race.gate.stopBefore('save_merge_queue');
  const gone = race.slow.poll(1, { signal: client.signal });
  await stands;
  await race.quick.polls(2);
  await race.quick.release(2, 'failure');
  client.abort();
  race.gate.open();
  await expect(gone).rejects.toMatchObject({ name: 'AbortError' });
  expect(await grantsOf(race.db)).toEqual([]);
});

test('a call that is told that the replica stops has not hung up: it is decided', async () => {
  await using race = await aRace();
  const stop = new AbortController();
  const stands = race.gate.stopBefore('read_merge_queue');
  const waiting = race.slow.poll(1, { signal: stop.signal });
  await stands;
  stop.abort(new SignalboxError('shutting_down'));
  race.gate.open();
  expect(outcomeOf(await waiting)).toBe('acquired');
});

test('renewals go on the lane of renewals, other calls on theirs', async () => {
  await using db = await freshDatabase();
  await using database = new Database({ url: db.url, connectTimeoutMs: 5000, statementTimeoutMs: 20_000 });
  const lanes: Lane[] = [];
  const watched = {
    query: (...call: Parameters<Database['query']>) => {
      lanes.push(call[0]);
      return database.query(...call);
    },
  } as unknown as Database;
  await using replica = openReplica(db, { settings: atOnce, database: watched });
  const builds = new Builds([replica]);
  const token = tokenOf(await builds.poll(1));
  expect(new Set(lanes.splice(0))).toEqual(new Set(['contended']));
  tokenOf(await builds.renew(1, token));
  expect(lanes.splice(0)).toEqual(['renew', 'renew']);
});
