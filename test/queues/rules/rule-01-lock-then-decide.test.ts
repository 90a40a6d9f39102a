import { expect, test } from 'vitest';
import { openRacer, sqlStateOf, waitPatiently } from '../../support/blocked.ts';
import { freshDatabase } from '../../support/database.ts';
import { acquireItem, decide, makeQueues, onQueue, rowsOf } from '../../support/sql-verbs.ts';

test('a decision that waited for the line sees the grant it waited for', async () => {
  await using db = await freshDatabase();
  await waitPatiently(db);
  await makeQueues(db, ['q']);
  const [first, second] = [await openRacer(db), await openRacer(db)];

  await first.client.query('begin');
  expect((await onQueue(first.client, 'q').acquire('a')).code).toBe('held');
  const waited = onQueue(second.client, 'q').acquire('b', { wait: true });
  await second.isBlocked();
  await first.client.query('commit');

  expect((await waited).code).toBe('waiting');
  expect(await onQueue(db, 'q').held()).toEqual(['a']);
});

test('one statement that locks and counts admits two holders of one place in the same race', async () => {
  await using db = await freshDatabase();
  await db.query('create table place (id int primary key); insert into place values (1)');
  await db.query('create table holder (id int, name text)');
  const naive = `with locked as (select id from place where id = 1 for update)
    insert into holder select 1, $1 from locked where (select count(*) from holder) < 1`;
  const [first, second] = [await openRacer(db), await openRacer(db)];

  await first.client.query('begin');
  await first.client.query(naive, ['a']);
  const waited = second.client.query(naive, ['b']);
  await second.isBlocked();
  await first.client.query('commit');
  await waited;

  expect(await rowsOf(db, 'select name from holder order by name')).toEqual([{ name: 'a' }, { name: 'b' }]);
});

/** What only reads, or writes rows that decide nothing (an enqueue, the inbox, an event). Everything else refuses an old snapshot. */
const exempt = [
  'begin_webhook_test',
  'enqueue',
  'hear',
  'look',
  'note_token_use',
  'read_events',
  'read_merge_queue',
  'renew_term',
  'report_replica',
  'retire_replica',
  'watch',
  'watch_cleaners',
  'watch_takers',
];

test.each(['repeatable read', 'serializable'])('every deciding function refuses %s with 25001', async (isolation) => {
  await using db = await freshDatabase();
  const functions = await rowsOf<{ name: string; arguments: string }>(
    db,
    `select p.proname as name, (
       select string_agg('null::' || format_type(t.type, null), ', ' order by t.n)
       from unnest(p.proargtypes) with ordinality t(type, n)) as arguments
     from pg_proc p where p.pronamespace = 'signalbox_v1'::regnamespace order by p.proname`,
  );
  expect(functions.length).toBeGreaterThan(exempt.length);
  const accepted: string[] = [];
  for (const { name, arguments: nulls } of functions) {
    const { client } = await openRacer(db);
    await client.query(`begin isolation level ${isolation}`);
    const state = await sqlStateOf(client.query(`select signalbox_v1.${name}(${nulls})`));
    if (state !== '25001') accepted.push(name);
    await client.end();
  }
  expect(accepted).toEqual(exempt.filter((name) => functions.some((known) => known.name === name)));
});

test('two batches that name queues in opposite orders do not deadlock', async () => {
  await using db = await freshDatabase();
  await waitPatiently(db);
  await makeQueues(db, ['a', 'b', 'c']);
  const [keeper, first, second] = [await openRacer(db), await openRacer(db), await openRacer(db)];

  // Both stop at b, and whoever had c before a would now wait for the other for ever.
  await keeper.client.query('begin');
  await keeper.client.query(`select from signalbox.lines where queue = 'b' for no key update`);
  const forwards = decide(
    first.client,
    ['a', 'b', 'c'].map((queue) => acquireItem(queue, 'x')),
    { wait: true },
  );
  await first.isBlocked();
  const backwards = decide(
    second.client,
    ['c', 'b', 'a'].map((queue) => acquireItem(queue, 'y')),
    { wait: true },
  );
  await second.isBlocked();
  await keeper.client.query('commit');

  expect((await forwards).map(({ code }) => code)).toEqual(['held', 'held', 'held']);
  expect((await backwards).map(({ code }) => code)).toEqual(['waiting', 'waiting', 'waiting']);
});

test('two calls that make queues in opposite orders do not deadlock', async () => {
  await using db = await freshDatabase();
  await waitPatiently(db);
  const [keeper, first, second] = [await openRacer(db), await openRacer(db), await openRacer(db)];

  await keeper.client.query('begin');
  await makeQueues(keeper.client, ['b']);
  const forwards = makeQueues(first.client, ['a', 'b', 'c']);
  await first.isBlocked();
  const backwards = makeQueues(second.client, ['c', 'b', 'a']);
  await second.isBlocked();
  await keeper.client.query('commit');
  await Promise.all([forwards, backwards]);

  expect(await rowsOf(db, 'select queue from signalbox.lines order by queue')).toEqual(
    ['a', 'b', 'c'].map((queue) => ({ queue })),
  );
});

test('renewals that name leases in opposite orders do not deadlock with a takeover of both', async () => {
  await using db = await freshDatabase();
  await waitPatiently(db);
  await makeQueues(db, ['a', 'b']);
  const items = [];
  for (const queue of ['b', 'a']) {
    const [token] = await onQueue(db, queue).hold('x');
    items.push({ queue, claim_id: 'x', fencing_token: token });
  }
  const [keeper, renewer, breaker] = [await openRacer(db), await openRacer(db), await openRacer(db)];

  await keeper.client.query('begin');
  await keeper.client.query(`select from signalbox.leases where queue = 'a' for no key update`);
  const renewed = rowsOf<{ code: string }>(renewer.client, 'select * from signalbox_v1.renew($1)', [
    JSON.stringify(items),
  ]);
  await renewer.isBlocked();
  const broken = decide(
    breaker.client,
    ['a', 'b'].map((queue) => ({ op: 'break', queue, claim_id: 'x' })),
  );
  await breaker.isBlocked();
  await keeper.client.query('commit');

  expect((await renewed).map(({ code }) => code)).toEqual(['renewed', 'renewed']);
  expect((await broken).map(({ code }) => code)).toEqual(['broken', 'broken']);
});
