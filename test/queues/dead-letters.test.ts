import { expect, onTestFinished, test } from 'vitest';
import type { ClaimId, QueueName } from '../../src/protocol/ids.ts';
import { DeadLetters } from '../../src/queues/dead-letters.ts';
import type { News } from '../../src/queues/news.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { Database } from '../../src/store/database.ts';
import { readBlockers, readDeadLetters } from '../../src/store/dead-letter-reads.ts';
import type { Decision } from '../../src/store/decisions.ts';
import { openRacer } from '../support/blocked.ts';
import { freshDatabase } from '../support/database.ts';
import { expectSoundRuns, onRuns } from '../support/sql-runs.ts';
import { makeQueues, onQueue } from '../support/sql-verbs.ts';

const failed = { outcome: 'failure', error: 'no disk' };
const actor = 'tester';
const name = (queue: string) => queue as QueueName;
const id = (claimId: string) => claimId as ClaimId;

async function setup(settings: object = {}) {
  const database = await freshDatabase();
  const db = new Database({ url: database.url, connectTimeoutMs: 1000, statementTimeoutMs: 5000 });
  onTestFinished(async () => {
    await expectSoundRuns(database);
    await db[Symbol.asyncDispose]();
    await database[Symbol.asyncDispose]();
  });
  await makeQueues(database, ['q'], settings);
  const told: Decision[] = [];
  const news = { spread: (decisions: readonly Decision[]) => void told.push(...decisions) };
  const letters = new DeadLetters({ db, clock: systemClock, news: news as unknown as News });
  return { database, db, letters, told, q: onRuns(database, 'q') };
}

/** Runs of a queue, all failed, one after another. */
async function failRuns(q: ReturnType<typeof onRuns>, payload: string | undefined, ...claimIds: readonly string[]) {
  for (const claimId of claimIds) {
    await q.enqueue(claimId, payload === undefined ? {} : { payload });
    await q.work(claimId, failed);
  }
}
const everything = { queue: undefined, prefix: '', cursor: '', limit: 50 };

test('a dead letter is listed with what it carries, byte for byte, and with its grants, the oldest first', async () => {
  const { letters, q } = await setup({ max_attempts: 2 });
  const payload = '{"n":  1.0, "big": 12345678901234567890, "n": "\\u00e9"}';
  await q.enqueue('a', { payload, priority: 3 });
  await q.work('a', { outcome: 'retry', retry_after_ms: 0, error: 'first' });
  await q.work('a', { outcome: 'retry', error: 'second' });
  await failRuns(q, undefined, 'b');
  const {
    dead_letters: [a, b, ...others],
    next_cursor: next,
  } = await letters.list(everything);
  expect(others).toEqual([]);
  expect(next).toBeNull();
  expect(a).toMatchObject({
    queue: 'q',
    claim_id: 'a',
    reason: 'max_attempts',
    outcome: 'retry',
    error: 'second',
    holder: 'worker',
    attempts: 2,
    max_attempts: 2,
    priority: 3,
    labels: {},
    blocks: false,
  });
  expect(a?.payload.text).toBe(payload);
  expect(b?.payload.text).toBe('null');
  expect(a?.history).toMatchObject([
    { attempt: 1, holder: 'worker', slot: 1, state: 'waiting', reason: 'released', outcome: 'retry', error: 'first' },
    { attempt: 2, holder: 'worker', slot: 1, state: 'dead', reason: 'max_attempts', outcome: 'retry', error: 'second' },
  ]);
  expect(Object.keys(a ?? {})).not.toContain('found');
  expect(Date.parse(a?.died_at ?? '')).toBeGreaterThanOrEqual(Date.parse(a?.enqueued_at ?? 'x'));
});

test('pages go by queue and then by time of death, from wherever the cursor says', async () => {
  const { database, letters, q } = await setup();
  await makeQueues(database, ['q/x', 'r']);
  await failRuns(onRuns(database, 'r'), undefined, 'a');
  await failRuns(q, undefined, 'z', 'm', 'a');
  await failRuns(onRuns(database, 'q/x'), undefined, 'b');
  const pageOf = async (page: object) => {
    const { dead_letters: found, next_cursor: next } = await letters.list({ ...everything, ...page });
    return { found: found.map(({ queue, claim_id: claimId }) => `${queue} ${claimId}`), next };
  };
  const first = await pageOf({ limit: 2 });
  expect(first.found).toEqual(['q z', 'q m']);
  // What the cursor stood behind may be gone.
  await q.purge(['m']);
  const second = await pageOf({ limit: 2, cursor: first.next });
  expect(second.found).toEqual(['q a', 'q/x b']);
  expect(await pageOf({ limit: 2, cursor: second.next })).toEqual({ found: ['r a'], next: null });
  expect(await pageOf({ queue: 'q' })).toEqual({ found: ['q z', 'q a'], next: null });
  expect(await pageOf({ prefix: 'q/' })).toEqual({ found: ['q/x b'], next: null });
  expect(await pageOf({ prefix: 'no' })).toEqual({ found: [], next: null });
});

const cursorOf = (place: readonly unknown[]) => Buffer.from(JSON.stringify(place)).toString('base64url');
test.each([
  'x',
  'WzFd',
  cursorOf(['q', 'yesterday', 'a']),
  cursorOf(['q', '2026-02-30T00:00:00.000000Z', 'a']),
  cursorOf(['q\u0000', '2026-02-03T00:00:00.000000Z', 'a']),
])('the cursor %s, which is none of ours, is refused', async (cursor) => {
  const { letters } = await setup();
  await expect(letters.list({ ...everything, cursor })).rejects.toMatchObject({ code: 'invalid_request' });
});

test('a page ends before 4 MiB of payloads, and the next goes on', async () => {
  const { database, letters } = await setup();
  await database.query(`insert into signalbox.dead_letters (queue, claim_id, reason, holder, attempts, max_attempts,
      priority, seq, labels, metadata, payload, enqueued_at, died_at, blocks)
    select 'q', 'r' || lpad(n::text, 2, '0'), 'failure', '', 1, 5, 0, n, '{}', '{}', to_json(repeat('x', 262142)),
      signalbox.clock(), signalbox.clock(), false
    from generate_series(1, 20) n`);
  await database.query(`update signalbox.lines set dead = 20`);
  const first = await letters.list(everything);
  expect(first.dead_letters).toHaveLength(16);
  const second = await letters.list({ ...everything, cursor: first.next_cursor ?? '' });
  expect(second.dead_letters.map(({ claim_id: claimId }) => claimId)).toEqual(['r17', 'r18', 'r19', 'r20']);
  expect(second.next_cursor).toBeNull();
});

test('only the newest 20 grants are told', async () => {
  const { letters, q } = await setup({ max_attempts: 30 });
  await q.enqueue('a');
  for (let attempt = 1; attempt <= 30; attempt++) await q.work('a', { outcome: 'retry', retry_after_ms: 0 });
  const {
    dead_letters: [a],
  } = await letters.list(everything);
  expect(a?.history.map(({ attempt }) => attempt)).toEqual(Array.from({ length: 20 }, (_none, n) => n + 11));
});

test('250 ids are redriven in calls of 100, those unknown are named once, in the order given', async () => {
  const { letters, told, q, database } = await setup();
  await q.enqueueMany(Array.from({ length: 240 }, (_none, n) => `r${n + 1}`));
  await onQueue(database, 'q').configure({ concurrency_limit: null });
  await q.enqueue('last');
  for (const { claim_id: claimId, fencing_token: token } of await q.take(241)) await q.release(claimId, token, failed);
  const ids = ['no', ...Array.from({ length: 240 }, (_none, n) => `r${n + 1}`), 'r1', 'nor', 'no'].map(id);
  expect(await letters.redrive(name('q'), { claim_ids: ids, actor })).toEqual({
    redriven: 240,
    not_found: ['no', 'nor'],
  });
  expect(await letters.purge(name('q'), { all: true, actor })).toEqual({ purged: 1, not_found: [] });
  expect(told.some(({ code, queue }) => code === 'ready' && queue === 'q')).toBe(true);
  expect(await q.line()).toHaveLength(240);
});

test('all means all that are there, also when they are many', async () => {
  const { letters, q } = await setup({ concurrency_limit: null });
  await q.enqueueMany(Array.from({ length: 320 }, (_none, n) => `r${n + 1}`));
  await q.enqueue('last');
  for (const { claim_id: claimId, fencing_token: token } of await q.take(321)) await q.release(claimId, token, failed);
  expect(await letters.redrive(name('q'), { all: true, actor })).toEqual({ redriven: 321, not_found: [] });
  expect(await letters.redrive(name('q'), { all: true, actor })).toEqual({ redriven: 0, not_found: [] });
});

test.each(['redrive', 'purge'] as const)('%s of a queue that is not there is queue_not_found', async (verb) => {
  const { letters } = await setup();
  await expect(letters[verb](name('nowhere'), { all: true, actor })).rejects.toMatchObject({ code: 'queue_not_found' });
});

test('what stops lines is listed by queue, each with the first ten', async () => {
  const { database, letters, q } = await setup({ on_failure: 'stop', concurrency_limit: 12 });
  await makeQueues(database, ['p', 'q/x']);
  for (let n = 10; n < 22; n++) await q.enqueue(`r${n}`);
  await q.enqueue('behind');
  for (const { claim_id: claimId, fencing_token: token } of await q.take(12)) await q.release(claimId, token, failed);
  for (const claimId of ['a', 'b']) await onRuns(database, 'q/x').enqueue(claimId);
  await onRuns(database, 'q/x').work('a', { outcome: 'retry', retry_after_ms: 60_000, error: 'later' });

  const { queues, next_cursor: next } = await letters.listBlocked({ prefix: '', cursor: '', limit: 10 });
  expect(next).toBeNull();
  expect(queues.map(({ blocked_by: blockers, ...queue }) => [queue, blockers.length])).toMatchObject([
    [{ queue: 'q', on_failure: 'stop', waiting: 1, delayed: 0 }, 10],
    [{ queue: 'q/x', on_failure: 'wait', waiting: 1, delayed: 1 }, 1],
  ]);
  expect(queues[0]?.blocked_by[0]).toEqual({
    claim_id: 'r10',
    state: 'dead',
    reason: 'failure',
    attempts: 1,
    error: 'no disk',
    due_at: null,
  });
  expect(queues[1]?.blocked_by).toMatchObject([{ claim_id: 'a', state: 'delayed', reason: 'retry', error: 'later' }]);

  const first = await letters.listBlocked({ prefix: '', cursor: '', limit: 1 });
  expect(first.queues.map(({ queue }) => queue)).toEqual(['q']);
  const second = await letters.listBlocked({ prefix: '', cursor: first.next_cursor ?? '', limit: 1 });
  expect(second.queues.map(({ queue }) => queue)).toEqual(['q/x']);
  expect(second.next_cursor).toBeNull();
  const prefixed = await letters.listBlocked({ prefix: 'q/', cursor: '', limit: 10 });
  expect(prefixed.queues.map(({ queue }) => queue)).toEqual(['q/x']);
});

test('unblocking counts all pages, and the line goes', async () => {
  const { letters, q, told } = await setup({ on_failure: 'stop', concurrency_limit: null });
  await q.enqueueMany(Array.from({ length: 230 }, (_none, n) => `r${n + 1}`));
  await q.enqueue('behind');
  for (const { claim_id: claimId, fencing_token: token } of await q.take(230)) await q.release(claimId, token, failed);
  expect(await letters.unblock(name('q'), { actor, reason: 'known' })).toEqual({ unblocked: 230 });
  expect(await letters.unblock(name('q'), { actor })).toEqual({ unblocked: 0 });
  expect(told.some(({ code }) => code === 'ready')).toBe(true);
  expect(await q.take()).toMatchObject([{ claim_id: 'behind' }]);
});

test('retry answers with the run in line, skip with how it ended; both refuse what they cannot do', async () => {
  const { letters, q, told } = await setup();
  for (const claimId of ['a', 'b', 'c']) await q.enqueue(claimId);
  await q.work('a', { outcome: 'retry', retry_after_ms: 60_000 });
  expect(await letters.retry(name('q'), id('a'), { actor })).toMatchObject({
    kind: 'run',
    state: 'waiting',
    attempts: 1,
  });
  await q.work('a', { outcome: 'retry', retry_after_ms: 60_000 });
  expect(await letters.skip(name('q'), id('a'), { actor, reason: 'known' })).toMatchObject({
    kind: 'run',
    state: 'dead',
    reason: 'skipped',
    actor,
    detail: 'known',
  });
  expect(told).toContainEqual(expect.objectContaining({ item: null, code: 'ended', claim_id: 'a' }));
  await expect(letters.retry(name('q'), id('b'), { actor })).rejects.toMatchObject({ code: 'not_retryable' });
  await expect(letters.skip(name('q'), id('b'), { actor })).rejects.toMatchObject({ code: 'not_blocking' });
  await expect(letters.skip(name('q'), id('nobody'), { actor })).rejects.toMatchObject({ code: 'claim_not_found' });
  await expect(letters.retry(name('no'), id('b'), { actor })).rejects.toMatchObject({ code: 'queue_not_found' });
});

test('a line that somebody else keeps is overloaded, and nothing is done', async () => {
  const { database, letters, q } = await setup();
  await failRuns(q, undefined, 'a');
  const { client } = await openRacer(database);
  await client.query('begin');
  await client.query(`select from signalbox.lines for no key update`);
  await expect(letters.redrive(name('q'), { all: true, actor })).rejects.toMatchObject({ code: 'overloaded' });
  await client.query('commit');
  expect(await q.line()).toEqual([]);
});

test('a page of dead letters among 100,000 of other queues is read by its index', async () => {
  const { database, q } = await setup();
  await makeQueues(database, ['p']);
  await failRuns(q, undefined, 'a');
  // Plans made on an empty table, and kept or not: on the connection whose statistics are read.
  const client = await database.connect();
  const db = {
    query: async (_lane: string, { sql, parameters }: { sql: string; parameters: unknown[] }) =>
      (await client.query(sql, parameters)).rows as unknown,
  } as unknown as Database;
  const page = { after: undefined, limit: 50, bytesMax: 1000 };
  await readDeadLetters(db, { queue: 'q' }, page);
  await database.query(`insert into signalbox.dead_letters (queue, claim_id, reason, holder, attempts, max_attempts,
      priority, seq, labels, metadata, enqueued_at, died_at, blocks)
    select 'p', 'r' || n, 'failure', '', 1, 5, 0, n, '{}', '{}', signalbox.clock(), signalbox.clock(), n % 2 = 0
    from generate_series(1, 100000) n`);
  await database.query(`update signalbox.lines set dead = 100000, blockers = 50000 where queue = 'p'`);
  await database.query('analyze signalbox.dead_letters');
  const read = async () => {
    await client.query('select pg_stat_force_next_flush()');
    const { rows } = await client.query<{ read: number }>(
      `select (seq_tup_read + idx_tup_fetch)::int as read from pg_stat_user_tables
       where schemaname = 'signalbox' and relname = 'dead_letters'`,
    );
    return rows[0]?.read ?? 0;
  };
  const before = await read();
  expect((await readDeadLetters(db, { queue: 'q' }, page)).rows).toHaveLength(1);
  expect((await readDeadLetters(db, { prefix: 'q' }, page)).rows).toHaveLength(1);
  expect((await readDeadLetters(db, { prefix: '' }, page)).rows).toHaveLength(50);
  expect((await readBlockers(db, { prefix: '', after: '', limit: 50 })).rows).toHaveLength(10);
  expect((await read()) - before).toBeLessThan(500);
}, 60_000);
