import { expect, test } from 'vitest';
import { sqlStateOf } from '../../support/blocked.ts';
import { moveClock } from '../../support/database-clock.ts';
import { freshDatabase, type TestDatabase } from '../../support/database.ts';
import { makeQueues, oneOf, onQueue, rowsOf } from '../../support/sql-verbs.ts';

/** Every function that writes in the name of a term, with a call that names the leader and epoch given. */
async function leaderCalls(db: TestDatabase): Promise<{ name: string; sql: string }[]> {
  return rowsOf(
    db,
    `select proname as name, format('select signalbox_v1.%I(%s)', proname, (
       select string_agg(case name when 'p_leader' then '$1' when 'p_epoch' then '$2'
                           when 'p_max' then '100' when 'p_after' then '''''' when 'p_after_queue' then ''''''
                           when 'p_after_claim' then '''''' when 'p_chore' then '''chore'''
                           when 'p_after_at' then '''-infinity''' when 'p_more' then 'false' when 'p_queues' then 'array[''line'']'
                           when 'p_change' then '''{}'''
                           else '1::' || format_type(type, null) end, ', ' order by place)
       from unnest(proargnames[:pronargs], proargtypes::oid[]) with ordinality a(name, type, place)
       where name not in ('p_counts', 'p_error'))
       || case proname when 'record_chore' then ', null, null' else '' end) as sql
     from pg_proc where pronamespace = 'signalbox_v1'::regnamespace and 'p_leader' = any(proargnames) order by 1`,
  );
}

/** A database in which every sweep would find something to do. */
async function untidyDatabase(): Promise<TestDatabase> {
  const db = await freshDatabase();
  await makeQueues(db, ['lapsed', 'line', 'idle']);
  await onQueue(db, 'lapsed').hold('a');
  await onQueue(db, 'line').hold('a');
  await onQueue(db, 'line').acquire('b', { listen_ms: 0 });
  await rowsOf(db, `select signalbox_v1.report_replica('gone', '1', null)`);
  await moveClock(db, 4 * 86_400_000);
  return db;
}

const everything = `select (select count(*) from signalbox.history) as history,
  (select count(*) from signalbox.events) as events, (select count(*) from signalbox.replicas) as replicas,
  (select count(*) from signalbox.queues) as queues, (select count(*) from signalbox.waiting) as waiting,
  (select count(*) from signalbox.chores) as chores, (select count(*) from pg_class) as relations,
  (select jsonb_agg(l order by queue) from signalbox.leases l) as leases`;

test('a write of an unknown, an ended or a lapsed term is refused with SB001 and changes nothing', async () => {
  await using db = await untidyDatabase();
  const calls = await leaderCalls(db);
  expect(calls.map(({ name }) => name)).toEqual(
    expect.arrayContaining(['sweep_lines', 'sweep_leases', 'sweep_silent']),
  );
  const campaign = async (leader: string) =>
    (await oneOf<{ epoch: string }>(db, 'select * from signalbox_v1.campaign($1, 10000)', [leader])).epoch;

  const resigned = await campaign('first');
  await rowsOf(db, 'select signalbox_v1.resign($1, $2)', ['first', resigned]);
  const current = await campaign('second');
  const before = await oneOf(db, everything);
  for (const { name, sql } of calls) {
    for (const [leader, epoch] of [
      ['nobody', 999],
      ['second', Number(current) + 1],
      ['first', resigned],
      ['first', current],
    ]) {
      expect([name, await sqlStateOf(db.query(sql, [leader, epoch]))]).toEqual([name, 'SB001']);
    }
  }
  await moveClock(db, 4 * 86_400_000 + 10_100);
  for (const { name, sql } of calls)
    expect([name, await sqlStateOf(db.query(sql, ['second', current]))]).toEqual([name, 'SB001']);
  expect(await oneOf(db, everything)).toEqual(before);
});

test('the same writes of the running term find their work', async () => {
  await using db = await untidyDatabase();
  const { epoch } = await oneOf<{ epoch: string }>(db, `select * from signalbox_v1.campaign('leader', 10000)`);
  const before = await oneOf(db, everything);
  for (const { name, sql } of await leaderCalls(db))
    expect([name, await sqlStateOf(db.query(sql, ['leader', epoch]))]).toEqual([name, undefined]);
  expect(await oneOf(db, everything)).not.toEqual(before);
});
