import pg from 'pg';
import { expect, test } from 'vitest';
import { failureKind } from '../../../src/store/failures.ts';
import { freshDatabase } from '../../support/database.ts';
import {
  cleanOne,
  acquireItem,
  decide,
  enqueueBySql,
  makeQueues,
  onQueue,
  renewHeld,
  rowsOf,
} from '../../support/sql-verbs.ts';

/** In the project `pgbouncer` these are connections of the pooler; a transaction may get any server connection. */
async function pooledClients(url: string, count: number) {
  const clients = Array.from({ length: count }, () => new pg.Client({ connectionString: url }));
  for (const client of clients) client.on('error', () => undefined);
  await Promise.all(clients.map((client) => client.connect()));
  return {
    clients,
    [Symbol.asyncDispose]: async () => {
      await Promise.all(clients.map((client) => client.end()));
    },
  };
}

test('every verb works through the pooler, each call on whatever connection comes', async () => {
  await using db = await freshDatabase();
  await using pooled = await pooledClients(db.url, 2);
  const [one, other] = pooled.clients;
  if (one === undefined || other === undefined) throw new Error('no clients');
  await makeQueues(one, ['q']);
  const [a = 0] = await onQueue(other, 'q').hold('a');
  expect((await onQueue(one, 'q').acquire('b')).code).toBe('waiting');
  expect((await onQueue(other, 'q').renew('a', a)).code).toBe('renewed');
  await onQueue(one, 'q').hear(['b'], 60_000);
  expect((await onQueue(other, 'q').look('b', { hear: true })).body.position).toBe(1);
  expect((await onQueue(one, 'q').release('a', a)).code).toBe('released');
  expect(await onQueue(other, 'q').held()).toEqual(['b']);
  expect((await onQueue(one, 'q').cancel('b')).code).toBe('release_requested');
  expect((await onQueue(other, 'q').break('b')).code).toBe('broken');
  expect(await onQueue(one, 'q').advance()).toEqual([]);
  expect((await onQueue(other, 'q').configure({ concurrency_limit: 3 }))[0]?.code).toBe('configured');
  expect((await onQueue(one, 'q').enqueue('run')).code).toBe('queued');
  await enqueueBySql(other, 'q', 'by.sql');
  const { ids, claims } = await onQueue(one, 'q').take(2);
  expect(ids).toEqual(['run', 'by.sql']);
  expect(await renewHeld(other, 'worker')).toHaveLength(2);
  const [run = 0, bySql = 0] = claims.map(({ body }) => body.fencing_token);
  expect((await onQueue(one, 'q').release('run', run, { outcome: 'retry' })).body.state).toBe('delayed');
  expect((await onQueue(other, 'q').release('by.sql', bySql, { outcome: 'failure' })).code).toBe('released');
  for (const call of [`retry_run('q', 'run', 'me')`, `redrive('q', null, 'me')`, `unblock('q', 'me')`])
    await rowsOf(one, `select * from signalbox_v1.${call}`);
  expect((await onQueue(other, 'q').take(2)).ids).toEqual(['run', 'by.sql']);
  for (const id of ids) await onQueue(one, 'q').break(id);
  await rowsOf(one, 'select signalbox_v1.report_replica($1, $2, null)', ['r', '1']);
  const [term] = await rowsOf<{ epoch: string }>(other, 'select * from signalbox_v1.campaign($1, 10000)', ['r']);
  expect(await rowsOf(one, 'select * from signalbox_v1.renew_term($1, $2, 10000)', ['r', term?.epoch])).toHaveLength(1);
  await rowsOf(one, `select * from signalbox_v1.set_pattern('q*', '{"max_attempts": 9}')`);
  expect(await rowsOf(other, `select code from signalbox_v1.inherit_settings('q')`)).toEqual([{ code: 'inherited' }]);
  await rowsOf(other, `select * from signalbox_v1.delete_pattern('q*')`);
  await onQueue(one, 'q').configure({ cleanup: true });
  const [soiler = 0] = await onQueue(other, 'q').hold('soiler');
  await onQueue(one, 'q').release('soiler', soiler);
  const cleaning = await cleanOne(other, 'q');
  await onQueue(one, 'q').release(cleaning.claim_id ?? '', cleaning.body.fencing_token);
  for (const sweep of [
    ...['sweep_lines', 'sweep_leases', 'sweep_silent', 'sweep_inbox'],
    ...['sweep_due', 'sweep_overdue', 'sweep_wait_timeouts'],
  ])
    await rowsOf(other, `select * from signalbox_v1.${sweep}($1, $2)`, ['r', term?.epoch]);
  await rowsOf(one, 'select signalbox_v1.sweep_partitions($1, $2, 7)', ['r', term?.epoch]);
  await rowsOf(other, 'select * from signalbox_v1.sweep_idle_queues($1, $2, 1000)', ['r', term?.epoch]);
  await rowsOf(one, 'select signalbox_v1.sweep_registers($1, $2)', ['r', term?.epoch]);
  await rowsOf(other, 'select signalbox_v1.resign($1, $2)', ['r', term?.epoch]);
  await rowsOf(one, 'select signalbox_v1.retire_replica($1)', ['r']);
  expect((await onQueue(other, 'q').delete()).at(-1)?.code).toBe('deleted');
});

/** As a replica does: whoever does not get the line within its 250 ms asks again. */
async function decideInTurn(client: Parameters<typeof decide>[0], items: Parameters<typeof decide>[1]) {
  for (;;) {
    try {
      return await decide(client, items, { wait: true });
    } catch (error) {
      if (failureKind(error) !== 'contended') throw error;
    }
  }
}

test('thirty clients at once over the pooler admit as many as the limit', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q'], { concurrency_limit: 5 });
  await using pooled = await pooledClients(db.url, 30);
  const answers = await Promise.all(
    pooled.clients.map((client, index) => decideInTurn(client, [acquireItem('q', `${index}`)])),
  );
  const codes = answers.flat().map(({ code }) => code);
  expect(codes.filter((code) => code === 'held')).toHaveLength(5);
  expect(codes.filter((code) => code === 'waiting')).toHaveLength(25);
});

test('the settings of a function do not stay on the connection', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q']);
  const { client, settings } = {
    client: await db.connect(),
    settings: ['lock_timeout', 'plan_cache_mode', 'search_path'],
  };
  const read = () =>
    rowsOf(client, 'select name, setting from pg_settings where name = any($1) order by name', [settings]);
  const before = await read();
  await onQueue(client, 'q').acquire('a');
  expect(await read()).toEqual(before);
});

test('no function uses what belongs to a session', async () => {
  await using db = await freshDatabase();
  const found = await rowsOf(
    db,
    `select oid::regprocedure::text as function from pg_proc
     where pronamespace in ('signalbox'::regnamespace, 'signalbox_v1'::regnamespace)
       and regexp_replace(prosrc, '--[^\n]*', '', 'g') ~* any (array[
         '\\m(un)?listen\\M', 'pg_(try_)?advisory_lock', 'pg_advisory_unlock', '\\mprepare\\M',
         '\\mdeallocate\\M', '\\m(temp|temporary)\\M', '\\mset\\s+(session|local|time)\\M', 'set_config', '\\mdeclare\\s+\\w+\\s+cursor'])`,
  );
  expect(found).toEqual([]);
});

/** Too seldom to matter, or (enqueue) in a user's own transaction, where nobody else can tell of its commit. */
const mayNotify = ['create_token', 'enqueue', 'resign', 'revoke_token'];

test('no deciding function notifies: commits with a notification queue behind one lock of the whole server', async () => {
  await using db = await freshDatabase();
  const notifying = await rowsOf(
    db,
    `select proname from pg_proc where prosrc ~* 'pg_notify|\\mnotify\\M'
       and pronamespace in ('signalbox'::regnamespace, 'signalbox_v1'::regnamespace)
       and proname <> all ($1)`,
    [mayNotify],
  );
  expect(notifying).toEqual([]);
});

/** Public functions that never wait for a row somebody else has locked. */
const neverWaits = ['enqueue', 'read_events', 'read_merge_queue', 'watch', 'watch_cleaners', 'watch_takers'];
/** Public functions whose statements are single-row lookups by key, or are called too seldom for a plan to matter. */
const anyPlan = [
  'begin_webhook_test',
  'campaign',
  'configure',
  'configure_merge_queue',
  'create_token',
  'delete_merge_queue',
  'delete_pattern',
  'delete_webhook',
  'enqueue',
  'ensure_queues',
  'finish_pattern',
  'note_token_use',
  'record_applied',
  'record_chore',
  'record_delivery',
  'renew_term',
  'report_replica',
  'resign',
  'retire_replica',
  'revoke_token',
  'set_pattern',
  'set_webhook',
  'sweep_idle_merge_queues',
  'sweep_partitions',
];

test('public functions carry their timeouts and plan mode, run as their owner, and fix their search path', async () => {
  await using db = await freshDatabase();
  const functions = await rowsOf<{ name: string; owner: boolean; config: string[] | null }>(
    db,
    `select proname as name, prosecdef as owner, proconfig as config from pg_proc
     where pronamespace = 'signalbox_v1'::regnamespace order by proname`,
  );
  const having = (setting: string) =>
    functions.filter(({ config }) => config?.some((entry) => entry.startsWith(setting))).map(({ name }) => name);
  const all = functions.map(({ name }) => name);
  expect(functions.filter(({ owner }) => !owner)).toEqual([]);
  expect(having('search_path=pg_catalog, pg_temp')).toEqual(all);
  expect(having('lock_timeout=')).toEqual(all.filter((name) => !neverWaits.includes(name)));
  expect(having('plan_cache_mode=force_generic_plan')).toEqual(all.filter((name) => !anyPlan.includes(name)));
});

test('nobody but the owner may run a function', async () => {
  await using db = await freshDatabase();
  const open = await rowsOf(
    db,
    `select p.oid::regprocedure::text from pg_proc p, aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
     where p.pronamespace in ('signalbox'::regnamespace, 'signalbox_v1'::regnamespace) and a.grantee = 0`,
  );
  expect(open).toEqual([]);
});
