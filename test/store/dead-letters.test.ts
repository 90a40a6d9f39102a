import { expect, onTestFinished, test } from 'vitest';
import { openRacer, sqlStateOf, waitPatiently } from '../support/blocked.ts';
import { moveClock } from '../support/database-clock.ts';
import { freshDatabase } from '../support/database.ts';
import { expectSoundRuns, onRuns } from '../support/sql-runs.ts';
import { makeQueues, oneOf, onQueue, rowsOf } from '../support/sql-verbs.ts';

/** A queue q; at the end of the test its tables must be sound. */
async function setup(settings: object = {}) {
  const db = await freshDatabase();
  onTestFinished(async () => {
    await expectSoundRuns(db);
    await db[Symbol.asyncDispose]();
  });
  await makeQueues(db, ['q'], settings);
  return { db, q: onRuns(db, 'q') };
}
const failed = { outcome: 'failure', error: 'no disk' };
const codes = (rows: readonly { item: number | null; code: string; claim_id: string | null }[]) =>
  rows.map(({ item, code, claim_id: claimId }) => [item, code, claimId]);

test('a redriven run is back at its old place with what it carried, and its attempts go on counting', async () => {
  const { q } = await setup({ max_attempts: 1 });
  for (const id of ['a', 'b']) await q.enqueue(id, { payload: `{"id":  "${id}"}` });
  await q.work('a', { outcome: 'retry', error: 'no disk' });
  expect(await q.counts()).toEqual({ runs: 1, delayed: 0, blockers: 0, dead: 1 });
  await q.enqueue('c');

  const rows = await q.redrive(['a']);
  expect(codes(rows)).toEqual([
    [0, 'redriven', 'a'],
    [null, 'ready', null],
  ]);
  expect(rows[0]?.body).toMatchObject({ kind: 'run', state: 'waiting', attempts: 1, max_attempts: 2, due_at: null });
  expect(await q.line()).toEqual(['a', 'b', 'c']);
  expect(await q.counts()).toEqual({ runs: 3, delayed: 0, blockers: 0, dead: 0 });
  expect(await q.take()).toMatchObject([{ claim_id: 'a', attempt: 2, max_attempts: 2, payload: '{"id":  "a"}' }]);
  expect(await q.events('claim.redriven')).toEqual([
    ['claim.redriven', 'a', { state: 'dead', attempts: 1, max_attempts: 2, actor: 'tester' }],
  ]);
});

test('however often a run is redriven, it gets as many attempts more as it was enqueued with', async () => {
  const { q } = await setup();
  await q.enqueue('a', { max_attempts: 2 });
  for (const attempts of [2, 4, 6]) {
    await q.work('a', { outcome: 'retry', retry_after_ms: 0 });
    await q.work('a', { outcome: 'retry', retry_after_ms: 0 });
    const [row] = await q.redrive(['a']);
    expect(row?.body).toMatchObject({ attempts, max_attempts: attempts + 2 });
  }
});

test('the age of a redriven run counts from its redrive', async () => {
  const { db, q } = await setup();
  await q.enqueue('a', { max_age_ms: 60_000 });
  await q.work('a', failed);
  await moveClock(db, 3_600_000);
  await q.redrive(['a']);
  expect(await q.take()).toMatchObject([{ claim_id: 'a' }]);
});

test('ids that are no dead letters are not found, each named once', async () => {
  const { q } = await setup();
  await q.enqueue('a');
  await q.work('a', failed);
  await q.enqueue('alive');
  const ids = ['unknown', 'a', 'alive', 'a', 'unknown'];
  const answers = codes(await q.purge(ids)).filter(([item]) => item !== null);
  expect(answers.sort()).toEqual([
    [0, 'not_found', 'unknown'],
    [1, 'purged', 'a'],
    [2, 'not_found', 'alive'],
  ]);
  expect(codes(await q.redrive(['a']))).toEqual([
    [0, 'not_found', 'a'],
    [null, 'ready', null],
  ]);
});

test('more ids than a call takes are refused', async () => {
  const { q } = await setup();
  expect(await sqlStateOf(q.redrive(['a', 'b', 'c'], 2))).toBe('22023');
  expect(await sqlStateOf(q.purge(['a', 'b', 'c'], 2))).toBe('22023');
});

test.each(['redrive', 'purge', 'unblock', 'skip_run', 'retry_run'])('%s of no queue says so', async (verb) => {
  const { db } = await setup();
  const ids = verb.endsWith('_run') ? `'a'` : verb === 'unblock' ? `'tester'` : 'null';
  const [row] = await rowsOf(db, `select * from signalbox_v1.${verb}('nowhere', ${ids}, 'tester')`);
  expect(row).toMatchObject({ item: 0, code: 'queue_not_found', queue: 'nowhere' });
});

test('all are redriven a page a call, and those that die meanwhile are left', async () => {
  const { db, q } = await setup({ concurrency_limit: null });
  for (const id of ['a', 'b', 'c', 'd', 'e']) await q.enqueue(id);
  for (const { claim_id: id, fencing_token: token } of await q.take(4)) await q.release(id, token, failed);

  const first = await q.redrive(null, 2);
  expect(codes(first)).toEqual([
    [null, 'redriven', 'a'],
    [null, 'redriven', 'b'],
    [null, 'next', null],
    [null, 'ready', null],
  ]);
  const diedBy = first.find(({ code }) => code === 'next')?.body?.['died_by'];
  await moveClock(db, 1000);
  await q.work('a', failed);
  expect(codes(await q.redrive(null, 3, diedBy))).toEqual([
    [null, 'redriven', 'c'],
    [null, 'redriven', 'd'],
    [null, 'ready', null],
  ]);
  expect(await q.counts()).toEqual({ runs: 4, delayed: 0, blockers: 0, dead: 1 });
});

test('a purged run is gone with what it carried; how it ended is known still', async () => {
  const { db, q } = await setup();
  await q.enqueue('a', { payload: '1' });
  await q.work('a', failed);
  expect(codes(await q.purge(null))).toEqual([[null, 'purged', 'a']]);
  expect(await q.counts()).toEqual({ runs: 0, delayed: 0, blockers: 0, dead: 0 });
  expect(await rowsOf(db, 'select from signalbox.dead_letters')).toEqual([]);
  expect(await onQueue(db, 'q').look('a')).toMatchObject({ code: 'ended', body: { state: 'released' } });
  expect(await q.events('claim.purged')).toEqual([['claim.purged', 'a', { reason: 'failure', actor: 'tester' }]]);
});

test('purging what stops a line lets those behind it go, and says who did it', async () => {
  const { q } = await setup({ on_failure: 'stop' });
  for (const id of ['a', 'b']) await q.enqueue(id);
  await q.work('a', failed);
  expect(await q.take()).toEqual([]);
  expect(codes(await q.purge(['a']))).toEqual([
    [0, 'purged', 'a'],
    [null, 'ready', null],
  ]);
  expect(await q.take()).toMatchObject([{ claim_id: 'b' }]);
  expect(await q.events('queue.blocked', 'queue.unblocked')).toEqual([
    ['queue.blocked', 'a', { reason: 'failure' }],
    ['queue.unblocked', null, { actor: 'tester' }],
  ]);
});

test('redriving what stops a line lets it go first', async () => {
  const { q } = await setup({ on_failure: 'stop' });
  for (const id of ['a', 'b']) await q.enqueue(id);
  await q.work('a', failed);
  await q.redrive(['a']);
  expect(await q.take()).toMatchObject([{ claim_id: 'a', attempt: 2 }]);
  expect(await q.counts()).toEqual({ runs: 1, delayed: 0, blockers: 0, dead: 0 });
});

test('skipping a retried run that waits for its time keeps it as a dead letter with its last error', async () => {
  const { db, q } = await setup();
  for (const id of ['a', 'b']) await q.enqueue(id, { payload: '[1.0]' });
  await q.work('a', { outcome: 'retry', retry_after_ms: 60_000, error: 'no disk' });
  expect(await q.take()).toEqual([]);

  const answer = await q.skip('a');
  expect(answer).toMatchObject({
    code: 'skipped',
    body: { state: 'dead', reason: 'skipped', attempt: 1, error: 'no disk', actor: 'tester', detail: 'because' },
  });
  const letter = `select claim_id, reason, outcome, error, holder, attempts, payload::text, blocks
    from signalbox.dead_letters`;
  expect(await rowsOf(db, letter)).toEqual([
    {
      claim_id: 'a',
      reason: 'skipped',
      outcome: 'retry',
      error: 'no disk',
      holder: 'worker',
      attempts: 1,
      payload: '[1.0]',
      blocks: false,
    },
  ]);
  expect(await q.counts()).toEqual({ runs: 1, delayed: 0, blockers: 0, dead: 1 });
  expect(await q.take()).toMatchObject([{ claim_id: 'b' }]);
  expect(await q.events('claim.skipped', 'claim.dead', 'queue.unblocked')).toEqual([
    ['claim.skipped', 'a', { state: 'delayed', actor: 'tester', reason: 'because' }],
    [
      'claim.dead',
      'a',
      {
        reason: 'skipped',
        outcome: 'retry',
        error: 'no disk',
        holder: 'worker',
        attempts: 1,
        actor: 'tester',
        detail: 'because',
      },
    ],
    ['queue.unblocked', null, {}],
  ]);
  expect((await onQueue(db, 'q').look('a')).body).toMatchObject({ state: 'dead', reason: 'skipped' });
});

test('a skipped dead letter stays one and blocks no more', async () => {
  const { q } = await setup({ on_failure: 'stop' });
  for (const id of ['a', 'b']) await q.enqueue(id);
  await q.work('a', failed);
  expect(await q.skip('a')).toMatchObject({ code: 'skipped', body: { state: 'released', outcome: 'failure' } });
  expect(await q.counts()).toEqual({ runs: 1, delayed: 0, blockers: 0, dead: 1 });
  expect(await q.take()).toMatchObject([{ claim_id: 'b' }]);
  expect(await q.events('claim.skipped', 'queue.unblocked')).toEqual([
    ['claim.skipped', 'a', { state: 'dead', actor: 'tester', reason: 'because' }],
    ['queue.unblocked', null, { actor: 'tester', reason: 'because' }],
  ]);
  expect((await q.skip('a')).code).toBe('not_blocking');
});

test('a dead letter that was skipped long after its end is still answered with how it ended', async () => {
  const { db, q } = await setup({ on_failure: 'stop', claim_memory_ms: 1000 });
  await q.enqueue('a');
  await q.work('a', failed);
  await moveClock(db, 3_600_000);
  expect(await q.skip('a')).toMatchObject({ code: 'skipped', body: { state: 'released', error: 'no disk' } });
});

test('skip and retry refuse runs that stop nothing, and do not know those that nobody knows', async () => {
  const { q } = await setup({ on_failure: 'step_around', concurrency_limit: 2 });
  for (const id of ['held', 'waiting', 'ended', 'delayed']) await q.enqueue(id);
  const [held] = await q.take();
  expect(held?.claim_id).toBe('held');
  await q.enqueue('first', { priority: 1 });
  await q.work('first', { outcome: 'retry', retry_after_ms: 60_000 });
  await q.enqueue('done', { priority: 1 });
  await q.work('done', { outcome: 'success' });
  const verbs = async (id: string) => [(await q.skip(id)).code, (await q.retry(id)).code];
  expect(await verbs('held')).toEqual(['not_blocking', 'not_retryable']);
  expect(await verbs('waiting')).toEqual(['not_blocking', 'not_retryable']);
  expect(await verbs('done')).toEqual(['not_blocking', 'not_retryable']);
  expect(await verbs('nobody')).toEqual(['claim_not_found', 'claim_not_found']);
  expect((await q.skip('first')).code).toBe('not_blocking');
});

test('a retried run that waits for its time may be taken at once, at its old place', async () => {
  const { q } = await setup();
  for (const id of ['a', 'b']) await q.enqueue(id);
  await q.work('a', { outcome: 'retry', retry_after_ms: 60_000 });
  expect(await q.retry('a')).toMatchObject({
    code: 'retried',
    body: { state: 'waiting', attempts: 1, max_attempts: 5, due_at: null },
  });
  expect(await q.line()).toEqual(['a', 'b']);
  expect(await q.counts()).toEqual({ runs: 2, delayed: 0, blockers: 0, dead: 0 });
  expect(await q.take()).toMatchObject([{ claim_id: 'a', attempt: 2 }]);
  expect(await q.events('claim.redriven', 'queue.unblocked')).toEqual([
    ['claim.redriven', 'a', { state: 'delayed', attempts: 1, actor: 'tester', reason: 'because' }],
    ['queue.unblocked', null, { actor: 'tester', reason: 'because' }],
  ]);
});

test('a retried dead letter is redriven', async () => {
  const { q } = await setup({ on_failure: 'stop' });
  for (const id of ['a', 'b']) await q.enqueue(id);
  await q.work('a', failed);
  expect(await q.retry('a')).toMatchObject({
    code: 'retried',
    body: { state: 'waiting', attempts: 1, max_attempts: 6 },
  });
  expect(await q.line()).toEqual(['a', 'b']);
  expect((await q.events('claim.redriven'))[0]?.[2]).toMatchObject({ actor: 'tester', reason: 'because' });
});

test('a run enqueued from SQL for later is found in the inbox and may be taken at once', async () => {
  const { q } = await setup();
  await q.enqueueBySql('a', '{"x":1}', 60_000);
  expect(await q.retry('a')).toMatchObject({ code: 'retried', body: { state: 'waiting', attempts: 0 } });
  expect(await q.take()).toMatchObject([{ claim_id: 'a', payload: '{"x":1}' }]);
});

test('an id in the inbox that is a dead letter is dropped with its purge, not enqueued after it', async () => {
  const { db, q } = await setup({ claim_memory_ms: 1000 });
  await q.enqueue('a');
  await q.work('a', failed);
  await moveClock(db, 3_600_000);
  await q.enqueueBySql('a');
  await q.purge(['a']);
  expect(await rowsOf(db, 'select from signalbox.inbox')).toEqual([]);
  expect(await q.line()).toEqual([]);
});

test('unblocking lets a line go whatever stops it; all stays where it is', async () => {
  const { q } = await setup({ on_failure: 'stop', concurrency_limit: 3 });
  for (const id of ['a', 'b', 'c', 'd']) await q.enqueue(id);
  const [a, b, c] = await q.take(3);
  await q.release('a', a?.fencing_token ?? 0, failed);
  await q.release('b', b?.fencing_token ?? 0, failed);
  await q.release('c', c?.fencing_token ?? 0, { outcome: 'retry', retry_after_ms: 60_000 });
  expect(await q.counts()).toEqual({ runs: 1, delayed: 1, blockers: 3, dead: 2 });
  expect(await q.take()).toEqual([]);

  const first = await q.unblock(2);
  expect(first.map(({ code, body }) => [code, body])).toEqual([
    ['unblocked', { unblocked: 2 }],
    ['next', null],
  ]);
  expect(await q.take()).toEqual([]);
  expect((await q.unblock(2)).map(({ code, body }) => [code, body])).toEqual([
    ['unblocked', { unblocked: 1 }],
    ['ready', null],
  ]);
  expect(await q.counts()).toEqual({ runs: 1, delayed: 1, blockers: 0, dead: 2 });
  expect(await q.take()).toMatchObject([{ claim_id: 'd' }]);
  expect(await q.events('queue.unblocked')).toEqual([
    ['queue.unblocked', null, { actor: 'tester', reason: 'because' }],
  ]);
  expect((await q.unblock()).map(({ code, body }) => [code, body])).toEqual([['unblocked', { unblocked: 0 }]]);
});

test('an acquire with the id of a dead letter is refused as long as it is kept', async () => {
  const { db, q } = await setup({ claim_memory_ms: 1000 });
  await q.enqueue('a');
  await q.work('a', failed);
  await moveClock(db, 3_600_000);
  expect((await onQueue(db, 'q').acquire('a')).code).toBe('claim_id_reused');
  await q.purge(['a']);
  expect((await onQueue(db, 'q').acquire('a')).code).toBe('held');
});

test('a redrive waits for the line and finds what a failure put there meanwhile', async () => {
  const { db, q } = await setup();
  await waitPatiently(db);
  await q.enqueue('a');
  const [taken] = await q.take();
  const [worker, operator] = [await openRacer(db), await openRacer(db)];
  await worker.client.query('begin');
  await onRuns(worker.client, 'q').release('a', taken?.fencing_token ?? 0, failed);
  const redriven = onRuns(operator.client, 'q').redrive(['a']);
  await operator.isBlocked();
  await worker.client.query('commit');
  expect(codes(await redriven)[0]).toEqual([0, 'redriven', 'a']);
  expect(await q.line()).toEqual(['a']);
});

test('a run is either skipped or moved into the line when its time comes, never both', async () => {
  const { db, q } = await setup();
  await waitPatiently(db);
  for (const id of ['a', 'b']) await q.enqueue(id);
  await q.work('a', { outcome: 'retry', retry_after_ms: 60_000 });
  await moveClock(db, 61_000);
  const [mover, operator] = [await openRacer(db), await openRacer(db)];
  await mover.client.query('begin');
  await onQueue(mover.client, 'q').advance();
  const skipped = onRuns(operator.client, 'q').skip('a');
  await operator.isBlocked();
  await mover.client.query('commit');
  expect((await skipped).code).toBe('not_blocking');
  expect(await q.line()).toEqual(['a', 'b']);
});

test('a run that is due but in nobody’s line yet can be skipped', async () => {
  const { db, q } = await setup();
  for (const id of ['a', 'b']) await q.enqueue(id);
  await q.work('a', { outcome: 'retry', retry_after_ms: 60_000 });
  await moveClock(db, 61_000);
  expect((await q.skip('a')).code).toBe('skipped');
  expect(await q.line()).toEqual(['b']);
});

test('redriving 100 dead letters of 100,000 reads those alone', async () => {
  const { db } = await setup();
  // As autovacuum leaves it a minute after the migration.
  await db.query('vacuum analyze');
  const client = await db.connect();
  const q = onRuns(client, 'q');
  await q.redrive(null);
  await q.purge(['x']);
  await db.query('alter table signalbox.dead_letters set (autovacuum_enabled = off)');
  await db.query(`insert into signalbox.dead_letters (queue, claim_id, reason, holder, attempts, max_attempts, priority,
      seq, labels, metadata, enqueued_at, died_at, blocks)
    select 'q', 'r' || n, 'failure', '', 1, 5, 0, n, '{}', '{}', signalbox.clock(), signalbox.clock(), false
    from generate_series(1, 100000) n`);
  await db.query('update signalbox.lines set dead = 100000');
  const read = async () => {
    await client.query('select pg_stat_force_next_flush()');
    return oneOf<{ scanned: number; fetched: number }>(
      client,
      `select seq_tup_read::int as scanned, idx_tup_fetch::int as fetched from pg_stat_user_tables
       where schemaname = 'signalbox' and relname = 'dead_letters'`,
    );
  };
  const before = await read();
  expect(await q.redrive(null)).toHaveLength(102);
  expect(await q.purge(Array.from({ length: 100 }, (_none, n) => `r${n + 500}`))).toHaveLength(101);
  const after = await read();
  expect(after.scanned - before.scanned).toBe(0);
  expect(after.fetched - before.fetched).toBeLessThan(1000);
}, 60_000);
