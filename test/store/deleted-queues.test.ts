import { expect, onTestFinished, test } from 'vitest';
import { openRacer, waitPatiently } from '../support/blocked.ts';
import { freshDatabase, type TestDatabase } from '../support/database.ts';
import { expectSoundRuns, onRuns } from '../support/sql-runs.ts';
import { makeQueues, onQueue, rowsOf } from '../support/sql-verbs.ts';

async function setup(settings: object = {}) {
  const db = await freshDatabase();
  onTestFinished(async () => {
    await expectSoundRuns(db);
    await db[Symbol.asyncDispose]();
  });
  await makeQueues(db, ['q', 'other'], settings);
  return { db, q: onRuns(db, 'q'), claims: onQueue(db, 'q') };
}

/** Tables with rows of this queue, other than what tells of the past. */
async function tablesWith(db: TestDatabase, queue: string): Promise<string[]> {
  const tables = await rowsOf<{ name: string }>(
    db,
    `select c.relname as name from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attname = 'queue'
     where c.relnamespace = 'signalbox'::regnamespace and c.relkind = 'r' and not c.relispartition
       and c.relname not similar to '(history|events)%' order by 1`,
  );
  const found: string[] = [];
  for (const { name } of tables) {
    const rows = await rowsOf(db, `select from signalbox.${name} where queue = $1 limit 1`, [queue]);
    if (rows.length > 0) found.push(name);
  }
  return found;
}

/** A row of each kind: held and waiting claims and runs, delayed, inbox, dead letters. */
async function fill(db: TestDatabase): Promise<void> {
  const q = onRuns(db, 'q');
  await onQueue(db, 'q').configure({ concurrency_limit: 4, on_failure: 'step_around' });
  await q.enqueue('held-run', { payload: '"held"' });
  await q.enqueue('dead', { payload: '"dead"' });
  const [held, dead] = await q.take(2);
  expect(held?.claim_id).toBe('held-run');
  await q.release('dead', dead?.fencing_token ?? 0, { outcome: 'failure' });
  await q.enqueue('retried', { priority: 1 });
  await q.work('retried', { outcome: 'retry', retry_after_ms: 60_000 });
  await q.enqueue('later', { delay_ms: 60_000 });
  await q.enqueue('waiting-run', { payload: '"waits"' });
  await onQueue(db, 'q').configure({ concurrency_limit: 2 });
  await onQueue(db, 'q').hold('held-claim');
  await onQueue(db, 'q').acquire('waiting-claim');
  await onQueue(db, 'q').configure({ max_runs: 0 });
  await q.enqueueBySql('inbox', '"inbox"');
}

test.each([
  [
    'a run in line',
    (q: ReturnType<typeof onRuns>) => q.enqueue('r'),
    { held: 0, waiting: 1, delayed: 0, dead_letters: 0 },
  ],
  [
    'a delayed run',
    (q: ReturnType<typeof onRuns>) => q.enqueue('r', { delay_ms: 60_000 }),
    { held: 0, waiting: 0, delayed: 1, dead_letters: 0 },
  ],
  [
    'a run in the inbox',
    (q: ReturnType<typeof onRuns>) => q.enqueueBySql('r'),
    { held: 0, waiting: 1, delayed: 0, dead_letters: 0 },
  ],
  [
    'a dead letter',
    async (q: ReturnType<typeof onRuns>) => {
      await q.enqueue('r');
      await q.work('r', { outcome: 'failure' });
    },
    { held: 0, waiting: 0, delayed: 0, dead_letters: 1 },
  ],
])('a queue with %s is in use', async (_what, use, counts) => {
  const { q, claims } = await setup();
  await use(q);
  expect(await claims.delete()).toMatchObject([{ item: 0, code: 'queue_in_use', body: counts }]);
});

test('what is in the inbox and finds no room counts as waiting', async () => {
  const { q, claims } = await setup({ max_runs: 0 });
  await q.enqueueBySql('r');
  expect(await claims.delete()).toMatchObject([{ code: 'queue_in_use', body: { waiting: 1 } }]);
});

test('a forced deletion ends all that is in the queue as broken, and leaves no row of it in any table', async () => {
  const { db, claims } = await setup();
  await fill(db);
  expect(await tablesWith(db, 'q')).toEqual([
    'dead_letters',
    'delayed',
    'heard',
    'inbox',
    'leases',
    'lines',
    'queues',
    'ready_queues',
    'runs',
    'taken',
    'waiting',
  ]);
  const rows = await claims.delete({ force: true });
  expect(rows.at(-1)).toMatchObject({ item: 0, code: 'deleted' });
  expect(await tablesWith(db, 'q')).toEqual([]);
  expect(
    await rowsOf(
      db,
      `select claim_id, kind, state, detail from signalbox.history
       where queue = 'q' and final and state = 'broken' order by claim_id`,
    ),
  ).toEqual(
    ['held-claim', 'held-run', 'inbox', 'later', 'retried', 'waiting-claim', 'waiting-run'].map((id) => ({
      claim_id: id,
      kind: id.endsWith('claim') ? 'claim' : 'run',
      state: 'broken',
      detail: 'queue_deleted',
    })),
  );
  expect((await onRuns(db, 'q').events('claim.purged')).map(([, id]) => id)).toEqual(['dead']);
});

test('a wide queue is deleted whole too', async () => {
  const { db, q, claims } = await setup({ concurrency_limit: null });
  await q.enqueue('r');
  await q.take();
  await claims.hold('c');
  await claims.delete({ force: true });
  expect(await tablesWith(db, 'q')).toEqual([]);
});

test('a queue is deleted in pages, however little a page takes, and grants nothing meanwhile', async () => {
  const { db, q } = await setup();
  await fill(db);
  const pages: string[] = [];
  for (;;) {
    const rows = await rowsOf<{ item: number | null; code: string }>(
      db,
      `select * from signalbox_v1.delete_queue('q', true, null, 'tester', 2)`,
    );
    const code = rows.find(({ item }) => item === 0)?.code ?? '';
    pages.push(code);
    await expectSoundRuns(db);
    if (code !== 'deleting') break;
    expect(await q.take(10)).toEqual([]);
  }
  expect(pages).toEqual(['deleting', 'deleting', 'deleting', 'deleting', 'deleted']);
  expect(await tablesWith(db, 'q')).toEqual([]);
});

test('an enqueue from SQL that commits after the deletion makes the queue anew, and nothing of the old one', async () => {
  const { db, q, claims } = await setup();
  await waitPatiently(db);
  await q.enqueue('old');
  const user = await openRacer(db);
  await user.client.query('begin');
  await user.client.query(`select signalbox_v1.enqueue('q', 'new')`);
  await claims.delete({ force: true });
  await user.client.query('commit');
  expect(await tablesWith(db, 'q')).toEqual(['inbox']);
  await makeQueues(db, ['q']);
  expect(await q.take()).toMatchObject([{ claim_id: 'new' }]);
});

test('a deletion waits for a taker, and ends what it took', async () => {
  const { db, q } = await setup();
  await waitPatiently(db);
  await q.enqueue('a');
  const [taker, operator] = [await openRacer(db), await openRacer(db)];
  await taker.client.query('begin');
  expect(await onRuns(taker.client, 'q').take()).toHaveLength(1);
  const deleted = onQueue(operator.client, 'q').delete({ force: true });
  await operator.isBlocked();
  await taker.client.query('commit');
  expect((await deleted).map(({ code, claim_id: id }) => [code, id])).toEqual([
    ['ended', 'a'],
    ['deleted', null],
  ]);
  expect(await tablesWith(db, 'q')).toEqual([]);
});
