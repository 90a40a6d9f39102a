import { expect, test } from 'vitest';
import { moveClock } from '../../support/database-clock.ts';
import { sqlStateOf } from '../../support/blocked.ts';
import { freshDatabase, type TestDatabase } from '../../support/database.ts';
import { failOver } from '../../support/failover.ts';
import {
  acquireItem,
  decide,
  enqueueBySql,
  makeQueues,
  oneOf,
  onQueue,
  renewItem,
  renewItems,
  rowsOf,
  take,
} from '../../support/sql-verbs.ts';

/** A token that was granted just now, and lost. */
async function lostToken(db: TestDatabase): Promise<number> {
  return Number((await oneOf<{ token: string }>(db, 'select signalbox.token_floor() as token')).token);
}

const failovers = (db: TestDatabase) =>
  rowsOf<{ data: Record<string, unknown> }>(db, `select data from signalbox.events where type = 'database.failover'`);

test('the first timeline that is seen is no failover, nor is the same one again', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q']);
  await onQueue(db, 'q').hold('a');
  expect(await rowsOf(db, 'select timeline, changed_at, changes from signalbox.timeline')).toEqual([
    { timeline: '00000001', changed_at: null, changes: 0 },
  ]);
  expect(await failovers(db)).toEqual([]);
});

test.each(['narrow', 'wide'])('after a failover a %s queue grants nothing new for max_ttl_ms', async (width) => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q'], { concurrency_limit: width === 'wide' ? null : 3, max_ttl_ms: 60_000 });
  const queue = onQueue(db, 'q');
  const [a = 0, b = 0] = await queue.hold('a', 'b');
  await failOver(db);
  expect((await queue.acquire('c')).code).toBe('waiting');
  expect((await queue.look('c')).body.waiting_for).toBe('quarantine');
  const refused = await queue.acquire('d', { mode: 'skip_if_busy' });
  expect(refused.code).toBe('quarantined');
  expect((refused.body as unknown as { retry_after_ms: number }).retry_after_ms).toBeGreaterThan(50_000);
  // What survived goes on, and what ends leaves its place empty.
  expect((await queue.renew('a', a)).code).toBe('renewed');
  expect((await queue.release('b', b)).code).toBe('released');
  expect((await queue.acquire('a')).code).toBe('held');
  await queue.configure({ concurrency_limit: width === 'wide' ? null : 5 });
  await queue.advance();
  expect(await queue.held()).toEqual(['a']);
  expect(await rowsOf(db, 'select waiting_for from signalbox_v1.line')).toEqual([{ waiting_for: 'quarantine' }]);

  await moveClock(db, 59_000);
  await queue.advance();
  expect(await queue.line()).toEqual(['c']);
  await moveClock(db, 60_100);
  await queue.advance();
  expect(await queue.held()).toContain('c');
  expect((await queue.acquire('e')).code).toBe('held');
  expect(await failovers(db)).toEqual([{ data: { previous: '00000000', timeline: '00000001' } }]);
});

test('a lease that runs out in a quarantine ends, and its place stays empty', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q'], { max_ttl_ms: 60_000 });
  const queue = onQueue(db, 'q');
  await queue.hold('a');
  await queue.acquire('b');
  await failOver(db);
  await queue.advance();
  await moveClock(db, 31_000);
  await queue.advance();
  expect(await queue.held()).toEqual([]);
  expect((await queue.acquire('b')).code).toBe('waiting');
  expect((await queue.acquire('c')).code).toBe('waiting');
});

test('a batch of acquires and releases in quarantined and other queues: only the others grant', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['p', 'q']);
  await onQueue(db, 'p').configure({ on_failover: 'immediate' });
  const [a = 0] = await onQueue(db, 'q').hold('a');
  await onQueue(db, 'q').acquire('b');
  await failOver(db);
  const rows = await decide(db, [
    { op: 'release', queue: 'q', claim_id: 'a', fencing_token: a },
    acquireItem('p', 'x'),
    acquireItem('q', 'c'),
  ]);
  expect(rows.map(({ item, code, claim_id }) => [item, code, claim_id])).toEqual(
    expect.arrayContaining([
      [0, 'released', 'a'],
      [1, 'held', 'x'],
      [2, 'waiting', 'c'],
    ]),
  );
  expect(rows).toHaveLength(3);
  expect(await onQueue(db, 'q').held()).toEqual([]);
});

test('runs are taken by nobody new, and wait for a taker again afterwards', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q'], { max_ttl_ms: 60_000 });
  const queue = onQueue(db, 'q');
  await queue.enqueue('run');
  await failOver(db);
  await enqueueBySql(db, 'q', 'from-sql');
  expect((await queue.take(2)).ids).toEqual([]);
  expect((await take(db, { prefix: 'q', max: 2 })).ids).toEqual([]);
  expect((await queue.look('run')).body.waiting_for).toBe('quarantine');
  expect(await rowsOf(db, 'select queue from signalbox.ready_queues')).toEqual([]);
  await moveClock(db, 60_100);
  await queue.advance();
  expect(await rowsOf(db, 'select queue from signalbox.ready_queues')).toEqual([{ queue: 'q' }]);
  expect((await queue.take()).ids).toEqual(['run']);
});

test('nobody waits for what cannot wait: a queue without a line says quarantined', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q'], { max_waiting: 0 });
  await failOver(db);
  expect((await onQueue(db, 'q').acquire('a')).code).toBe('quarantined');
  await onQueue(db, 'q').configure({ paused: true });
  expect((await onQueue(db, 'q').acquire('a', { mode: 'skip_if_busy' })).code).toBe('queue_busy');
});

test('on_failover immediate, set before or after, ends the quarantine of its queue in the same call', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q']);
  const queue = onQueue(db, 'q');
  await failOver(db);
  await queue.acquire('a');
  const told = await queue.configure({ on_failover: 'immediate' });
  expect(told.map(({ code, claim_id }) => [code, claim_id])).toContainEqual(['held', 'a']);
});

test('a lowered max_ttl_ms shortens no quarantine: not of leases made before, nor of those that were lost', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['before', 'after', 'free'], { max_ttl_ms: 600_000 });
  for (const queue of ['before', 'after']) await onQueue(db, queue).acquire('a', { ttl_ms: 500_000 });
  for (const queue of ['before', 'free']) await onQueue(db, queue).configure({ max_ttl_ms: 60_000 });
  await failOver(db);
  await onQueue(db, 'after').configure({ max_ttl_ms: 60_000 });
  const ends = await rowsOf<{ queue: string; seconds: number }>(
    db,
    `select q.queue, round(extract(epoch from q.quarantined_until - t.changed_at))::integer as seconds
     from signalbox_v1.queues q, signalbox.timeline t order by q.queue`,
  );
  expect(ends).toEqual([
    { queue: 'after', seconds: 600 },
    { queue: 'before', seconds: 500 },
    { queue: 'free', seconds: 60 },
  ]);
});

test('who renews or releases a lease that was lost is told of the failover', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q', 'w'], { max_ttl_ms: 60_000 });
  await onQueue(db, 'w').configure({ concurrency_limit: null });
  const [a = 0] = await onQueue(db, 'q').hold('a');
  await onQueue(db, 'q').acquire('waits');
  const lost = await lostToken(db);
  await failOver(db);
  const answers = await renewItems(db, [
    renewItem('q', 'lost', lost),
    renewItem('q', 'waits', lost + 1),
    renewItem('w', 'lost', lost),
    renewItem('queue-that-was-lost', 'lost', lost),
    renewItem('q', 'never', a - 1),
  ]);
  expect(answers.map(({ code, body }) => [code, body.reason])).toEqual([
    ['lease_lost', 'failover'],
    ['lease_lost', 'failover'],
    ['lease_lost', 'failover'],
    ['lease_lost', 'failover'],
    ['claim_not_found', null],
  ]);
  expect(await onQueue(db, 'q').release('lost', lost)).toMatchObject({
    code: 'not_released',
    body: { reason: 'failover' },
  });
  await moveClock(db, 60_100);
  expect((await onQueue(db, 'q').renew('lost', lost)).code).toBe('claim_not_found');
});

test('two connections at once see one failover; the one that may not write it down grants nothing either', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['p', 'q']);
  await failOver(db);
  const first = await db.connect();
  await first.query('begin');
  expect((await onQueue(first, 'p').acquire('a')).code).toBe('waiting');
  // The first has not committed, and is not waited for.
  expect((await onQueue(db, 'q').acquire('b', { mode: 'skip_if_busy' })).code).toBe('quarantined');
  await first.query('commit');
  expect((await onQueue(db, 'q').acquire('b', { mode: 'skip_if_busy' })).code).toBe('quarantined');
  expect(await failovers(db)).toHaveLength(1);
  expect(await rowsOf(db, 'select changes from signalbox.timeline')).toEqual([{ changes: 1 }]);
});

test('while one connection writes a failover down, another grants nothing to a claim on several queues either', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['p', 'q', 'r']);
  const joint = { also: [{ queue: 'p' }] };
  const [held = 0] = await onQueue(db, 'p').hold('h');
  expect((await onQueue(db, 'q').acquire('waits', joint)).code).toBe('waiting');
  await onQueue(db, 'q').configure({ on_failover: 'immediate' });
  await failOver(db);
  const first = await db.connect();
  await first.query('begin');
  await first.query('select signalbox.failover_at()');
  await onQueue(db, 'p').release('h', held);
  await onQueue(db, 'q').advance();
  expect((await onQueue(db, 'r').acquire('comes', { ...joint, mode: 'skip_if_busy' })).code).toBe('quarantined');
  await first.query('commit');
  expect(await rowsOf(db, `select from signalbox.leases where state = 'held'`)).toEqual([]);
});

test('a failover that was noted by a call that failed is noted by the next', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q']);
  await failOver(db);
  const first = await db.connect();
  await first.query('begin');
  await onQueue(first, 'q').acquire('a', { mode: 'skip_if_busy' });
  await first.query('rollback');
  expect((await onQueue(db, 'q').acquire('a', { mode: 'skip_if_busy' })).code).toBe('quarantined');
  expect(await failovers(db)).toHaveLength(1);
});

test('a row that is gone is a failover: nobody knows what was lost with it', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q']);
  await db.query('delete from signalbox.timeline');
  expect((await onQueue(db, 'q').acquire('a', { mode: 'skip_if_busy' })).code).toBe('quarantined');
  expect(await failovers(db)).toHaveLength(1);
});

test('a role without rights may read the timeline', async () => {
  await using db = await freshDatabase();
  const client = await db.connect();
  await client.query('begin');
  await client.query('create role timeline_reader_of_a_test');
  await client.query('set local role timeline_reader_of_a_test');
  const { rows } = await client.query(`select substr(pg_walfile_name('1/0'), 1, 8) as timeline`);
  await client.query('rollback');
  expect(rows).toEqual([{ timeline: '00000001' }]);
});

test('an operator accepts a failover once: all quarantines end, until the next one', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q']);
  const accept = () => oneOf(db, `select signalbox_v1.accept_failover('operator') as accepted`);
  const ask = async (claim: string) => (await onQueue(db, 'q').acquire(claim, { mode: 'skip_if_busy' })).code;
  expect(await accept()).toEqual({ accepted: false });
  expect(await sqlStateOf(db.query(`select signalbox_v1.accept_failover(' ')`))).toBe('22023');
  await failOver(db);
  await onQueue(db, 'q').acquire('waits');
  // One that nobody has seen is not accepted with another one.
  expect(await oneOf(db, `select signalbox_v1.accept_failover('operator', '00000000') as accepted`)).toEqual({
    accepted: false,
  });
  expect(await accept()).toEqual({ accepted: true });
  expect(await accept()).toEqual({ accepted: false });
  await onQueue(db, 'q').advance();
  expect(await onQueue(db, 'q').held()).toEqual(['waits']);
  expect(await oneOf(db, 'select accepted_by, quarantine_ms::int from signalbox_v1.failover')).toEqual({
    accepted_by: 'operator',
    quarantine_ms: 0,
  });
  await onQueue(db, 'q').break('waits');
  await failOver(db);
  expect(await ask('next')).toBe('quarantined');
});

test('where nobody asks for anything the leader notices, by its own work', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q'], { max_ttl_ms: 60_000 });
  const [{ epoch } = { epoch: 0 }] = await rowsOf<{ epoch: number }>(
    db,
    `select epoch::int from signalbox_v1.campaign('leader', 10000)`,
  );
  await failOver(db);
  await db.query(`select signalbox_v1.sweep_lines('leader', $1)`, [epoch]);
  expect(await failovers(db)).toHaveLength(1);
  const { quarantine_ms: left } = await oneOf<{ quarantine_ms: number }>(
    db,
    'select quarantine_ms::int from signalbox_v1.failover',
  );
  expect(left).toBeGreaterThan(50_000);
  expect(left).toBeLessThanOrEqual(60_000);
});

test('no cleaner gets the slot of somebody who may believe in it', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q'], { cleanup: true, max_ttl_ms: 60_000 });
  const [a = 0] = await onQueue(db, 'q').hold('a');
  await onQueue(db, 'q').release('a', a);
  await failOver(db);
  const clean = async () =>
    (await rowsOf<{ code: string }>(db, `select code from signalbox_v1.clean('q', 'cleaner')`)).map(({ code }) => code);
  expect(await clean()).toEqual(['served']);
  expect(await rowsOf(db, `select code from signalbox_v1.watch_cleaners(array['q'])`)).toEqual([]);
  await moveClock(db, 60_100);
  expect(await clean()).toEqual(['cleaning', 'served']);
});
