import { expect, test } from 'vitest';
import { moveClock } from '../../support/database-clock.ts';
import { freshDatabase, type TestDatabase } from '../../support/database.ts';
import { expectSoundQueues } from '../../support/sound-queues.ts';
import { decide, enqueueItem, makeQueues, oneOf, onQueue, rowsOf, takeExactly } from '../../support/sql-verbs.ts';

const retry = (retry_after_ms: number) => ({ outcome: 'retry', retry_after_ms });

async function queueOf(db: TestDatabase, settings: object, ...ids: readonly string[]) {
  await makeQueues(db, ['q'], settings);
  await decide(
    db,
    ids.map((id) => enqueueItem('q', id)),
  );
  return onQueue(db, 'q');
}

test('a retried run is back at its old place: behind those before it, before those behind it', async () => {
  await using db = await freshDatabase();
  const queue = await queueOf(db, { concurrency_limit: 3 }, 'a', 'b', 'c', 'd');
  const [a = 0, b = 0, c = 0] = await takeExactly(db, 'q', 'a', 'b', 'c');
  await queue.enqueue('e');
  await queue.enqueue('high', { priority: 1 });
  expect((await queue.release('b', b, retry(0))).body).toEqual({ state: 'waiting' });
  expect(await queue.line('run')).toEqual(['high', 'b', 'd', 'e']);
  await queue.release('c', c, retry(0));
  await queue.release('a', a, retry(0));
  expect(await queue.line('run')).toEqual(['high', 'a', 'b', 'c', 'd', 'e']);
  await takeExactly(db, 'q', 'high', 'a', 'b');
  await expectSoundQueues(db);
});

test('a retried run is delayed until it is due, not a moment less, and then at its old place', async () => {
  await using db = await freshDatabase();
  const queue = await queueOf(db, { on_failure: 'step_around' }, 'a', 'b', 'c');
  const [token = 0] = await takeExactly(db, 'q', 'a');
  const released = await queue.release('a', token, retry(60_000));
  expect(released.body).toMatchObject({ state: 'delayed', due_at: expect.any(String) as string });
  expect((await queue.look('a')).body).toMatchObject({ state: 'delayed', due_at: released.body.due_at, attempt: 1 });
  await moveClock(db, 59_000);
  await queue.advance();
  expect([await queue.line('run'), await queue.delayed()]).toEqual([['b', 'c'], ['a']]);
  await moveClock(db, 60_100);
  await takeExactly(db, 'q', 'a');
  await expectSoundQueues(db);
});

test('attempts count grants, and after max_attempts of them the run is dead', async () => {
  await using db = await freshDatabase();
  const queue = await queueOf(db, { max_attempts: 3 }, 'a');
  for (const attempt of [1, 2, 3]) {
    const { claims } = await queue.take();
    expect(claims[0]?.body).toMatchObject({ attempt, max_attempts: 3 });
    const { body } = await queue.release('a', claims[0]?.body.fencing_token ?? 0, {
      ...retry(0),
      error: `no ${attempt}`,
    });
    expect(body.state).toBe(attempt < 3 ? 'waiting' : 'dead');
  }
  expect(await queue.dead()).toEqual(['a: max_attempts']);
  expect(await queue.look('a')).toMatchObject({ code: 'ended', body: { state: 'dead', reason: 'max_attempts' } });
  expect(await oneOf(db, 'select attempts, outcome, error, holder, blocks from signalbox.dead_letters')).toEqual({
    attempts: 3,
    outcome: 'retry',
    error: 'no 3',
    holder: 'worker',
    blocks: false,
  });
  expect(
    await rowsOf(db, 'select attempt, state, final, outcome, error from signalbox.history order by attempt'),
  ).toEqual([
    { attempt: 1, state: 'waiting', final: false, outcome: 'retry', error: 'no 1' },
    { attempt: 2, state: 'waiting', final: false, outcome: 'retry', error: 'no 2' },
    { attempt: 3, state: 'dead', final: true, outcome: 'retry', error: 'no 3' },
  ]);
  await expectSoundQueues(db);
});

test('a run older than max_age_ms is dead: when it is retried', async () => {
  await using db = await freshDatabase();
  const queue = await queueOf(db, { max_age_ms: 10_000 }, 'a');
  const [token = 0] = await takeExactly(db, 'q', 'a');
  await moveClock(db, 11_000);
  expect((await queue.release('a', token, retry(0))).body.state).toBe('dead');
  expect(await queue.dead()).toEqual(['a: max_age']);
  await expectSoundQueues(db);
});

test('a run older than max_age_ms is dead: when its lease runs out', async () => {
  await using db = await freshDatabase();
  const queue = await queueOf(db, { max_age_ms: 10_000 }, 'a');
  await takeExactly(db, 'q', 'a');
  await moveClock(db, 31_000);
  expect((await queue.advance()).map(({ code, body }) => [code, (body as object | null) && body.reason])).toEqual([
    ['ended', 'max_age'],
  ]);
  expect(await queue.dead()).toEqual(['a: max_age']);
  await expectSoundQueues(db);
});

test('a run older than max_age_ms is dead: when somebody would take it, who gets the next one', async () => {
  await using db = await freshDatabase();
  const queue = await queueOf(db, {}, 'young');
  await queue.enqueue('old', { priority: 1, max_age_ms: 10_000 });
  await moveClock(db, 11_000);
  const { ids, more } = await queue.take();
  expect(more || ids.length === 1).toBe(true);
  if (ids.length === 0) await takeExactly(db, 'q', 'young');
  expect(await queue.dead()).toEqual(['old: max_age']);
  await expectSoundQueues(db);
});

test('but a run that is held may still end well, however old it is', async () => {
  await using db = await freshDatabase();
  const queue = await queueOf(db, { max_age_ms: 1000 }, 'a');
  const [token = 0] = await takeExactly(db, 'q', 'a');
  await moveClock(db, 20_000);
  expect((await queue.renew('a', token)).code).toBe('renewed');
  expect((await queue.release('a', token, { outcome: 'success' })).body).toEqual({ state: 'released' });
  expect(await queue.dead()).toEqual([]);
});

test('the backoff doubles up to its bound, and is jittered to 50 to 100 % of it', async () => {
  await using db = await freshDatabase();
  const queue = await queueOf(
    db,
    { retry_delay_ms: 1000, retry_delay_max_ms: 5000, max_attempts: 9, on_failure: 'step_around' },
    'a',
  );
  let clockMs = 0;
  const delays: number[] = [];
  for (let attempt = 1; attempt <= 5; attempt++) {
    const [token = 0] = await takeExactly(db, 'q', 'a');
    await queue.release('a', token, { outcome: 'retry' });
    const { ms } = await oneOf<{ ms: number }>(
      db,
      `select (extract(epoch from d.due_at - h.ended_at) * 1000)::int as ms from signalbox.delayed d
       join signalbox.history h using (queue, claim_id) order by h.attempt desc limit 1`,
    );
    delays.push(ms);
    clockMs += 5001;
    await moveClock(db, clockMs);
  }
  for (const [index, full] of [1000, 2000, 4000, 5000, 5000].entries()) {
    expect(delays[index]).toBeGreaterThanOrEqual(full / 2 - 5);
    expect(delays[index]).toBeLessThanOrEqual(full + 5);
  }
  const { least, most, kinds } = await oneOf<{ least: number; most: number; kinds: number }>(
    db,
    `select min(d)::int as least, max(d)::int as most, count(distinct d)::int as kinds from (
       select signalbox.retry_delay_ms(q, 2) as d from signalbox.queues q, generate_series(1, 1000)) delays`,
  );
  expect([least >= 1000, least < 1100, most > 1900, most <= 2000, kinds > 100]).toEqual([true, true, true, true, true]);
});

test('the backoff of a queue of 0 ms is none, and of a thousandth attempt it is the bound', async () => {
  await using db = await freshDatabase();
  const queue = await queueOf(db, { retry_delay_ms: 0 }, 'a');
  const [token = 0] = await takeExactly(db, 'q', 'a');
  expect((await queue.release('a', token, { outcome: 'retry' })).body).toEqual({ state: 'waiting' });
  await queue.configure({ retry_delay_ms: 86_400_000, retry_delay_max_ms: 31_536_000_000 });
  const { ms } = await oneOf<{ ms: string }>(
    db,
    'select signalbox.retry_delay_ms(q, 1000) as ms from signalbox.queues q',
  );
  expect(Number(ms)).toBeGreaterThanOrEqual(31_536_000_000 / 2);
  expect(Number(ms)).toBeLessThanOrEqual(31_536_000_000);
});

test('a retried claim is back with its holder, and stands before all that wait', async () => {
  await using db = await freshDatabase();
  const queue = await queueOf(db, {});
  const [token = 0] = await queue.hold('a');
  await queue.acquire('b');
  expect((await queue.release('a', token, retry(10_000))).body.state).toBe('delayed');
  expect(await queue.held()).toEqual(['b']);
  expect(await queue.acquire('a')).toMatchObject({
    code: 'waiting',
    body: { state: 'delayed', holder: 'holder of a' },
  });
  expect((await queue.acquire('a', { holder: 'stranger' })).code).toBe('claim_id_reused');
  await queue.acquire('c');
  await moveClock(db, 10_100);
  await queue.advance();
  expect(await queue.line()).toEqual(['a', 'c']);
  await queue.break('b');
  expect(await queue.acquire('a')).toMatchObject({ code: 'held', body: { attempt: 2 } });
  await expectSoundQueues(db);
});

test('claims that never stood in line come back before those that did, in the order of their grants', async () => {
  await using db = await freshDatabase();
  const queue = await queueOf(db, { concurrency_limit: 3 });
  const [a = 0, b = 0, c = 0] = await queue.hold('a', 'b', 'c');
  for (const id of ['x', 'y']) await queue.acquire(id);
  await queue.configure({ paused: true });
  await queue.release('c', c, retry(0));
  await queue.release('a', a, retry(0));
  await queue.release('b', b, retry(0));
  expect(await queue.line()).toEqual(['a', 'b', 'c', 'x', 'y']);
  await expectSoundQueues(db);
});

test('how long a delayed claim may be silent counts from when it is due', async () => {
  await using db = await freshDatabase();
  const queue = await queueOf(db, { waiting_ttl_ms: 10_000 });
  const [token = 0] = await queue.hold('a');
  await queue.release('a', token, retry(60_000));
  await queue.hold('b');
  const { epoch } = await oneOf<{ epoch: string }>(db, `select epoch from signalbox_v1.campaign('me', 3600000)`);
  const sweep = async (ms: number) => {
    await moveClock(db, ms);
    await queue.advance();
    await queue.renew('b', (await queue.look('b')).body.fencing_token, 300_000);
    return (await rowsOf<{ claim_id: string }>(db, `select * from signalbox_v1.sweep_silent('me', $1)`, [epoch]))
      .filter((row) => row.claim_id === 'a')
      .map((row) => (row as unknown as { code: string }).code);
  };
  expect(await sweep(20_000)).toEqual([]);
  expect(await sweep(60_100)).toEqual([]);
  expect(await queue.line()).toEqual(['a']);
  expect(await sweep(69_000)).toEqual([]);
  expect(await sweep(70_500)).toContain('ended');
  await expectSoundQueues(db);
});

test('a claim put back at once is not held silent for what was heard of it before its grant', async () => {
  await using db = await freshDatabase();
  const queue = await queueOf(db, { waiting_ttl_ms: 10_000, max_ttl_ms: 600_000 });
  const [token = 0] = await queue.hold('a');
  await queue.renew('a', token, 600_000);
  // Left over by a poll that was under way at the grant.
  await db.query(`insert into signalbox.heard (queue, claim_id, heard_at, listens_until)
    values ('q', 'a', signalbox.clock(), signalbox.clock())`);
  await moveClock(db, 60_000);
  await queue.configure({ paused: true });
  await queue.release('a', token, retry(0));
  const { epoch } = await oneOf<{ epoch: string }>(db, `select epoch from signalbox_v1.campaign('me', 3600000)`);
  await rowsOf(db, `select * from signalbox_v1.sweep_silent('me', $1)`, [epoch]);
  expect(await queue.line()).toEqual(['a']);
});

test('a release repeated after the run is held again is not_released, and the new grant is untouched', async () => {
  await using db = await freshDatabase();
  const queue = await queueOf(db, {}, 'a');
  const [first = 0] = await takeExactly(db, 'q', 'a');
  await queue.release('a', first, retry(0));
  expect(await queue.release('a', first, retry(0))).toMatchObject({
    code: 'not_released',
    body: { reason: 'released' },
  });
  const [second = 0] = await takeExactly(db, 'q', 'a');
  for (const options of [retry(0), { outcome: 'success' }, {}])
    expect(await queue.release('a', first, options)).toMatchObject({
      code: 'not_released',
      body: { reason: 'released' },
    });
  expect(await queue.renew('a', first)).toMatchObject({ code: 'lease_lost', body: { reason: 'released' } });
  expect((await queue.release('a', second + 1000)).code).toBe('token_mismatch');
  expect(await queue.held()).toEqual(['a']);
  expect((await queue.renew('a', second)).code).toBe('renewed');
  await expectSoundQueues(db);
});

test('a token that a delayed run never had is a mismatch', async () => {
  await using db = await freshDatabase();
  const queue = await queueOf(db, {});
  await queue.enqueue('a', { delay_ms: 10_000 });
  expect((await queue.release('a', 5)).code).toBe('token_mismatch');
  expect((await queue.renew('a', 5)).code).toBe('token_mismatch');
});

test('a failed run keeps its letter with its payload, and ended as released', async () => {
  await using db = await freshDatabase();
  const queue = await queueOf(db, {});
  await queue.enqueue('a', { payload: '{ "n": 1.0 }' });
  const [token = 0] = await takeExactly(db, 'q', 'a');
  const { code, body } = await queue.release('a', token, { outcome: 'failure', error: 'two\nlines' });
  expect([code, body]).toEqual(['released', { state: 'released', dead_letter: 'failure' }]);
  expect(await queue.look('a')).toMatchObject({ code: 'ended', body: { state: 'released', outcome: 'failure' } });
  expect(
    await oneOf(db, 'select reason, outcome, error, attempts, payload::text as payload from signalbox.dead_letters'),
  ).toEqual({ reason: 'failure', outcome: 'failure', error: 'two\nlines', attempts: 1, payload: '{ "n": 1.0 }' });
  await expectSoundQueues(db);
});

test('a delayed run is cancelled or broken like any other', async () => {
  await using db = await freshDatabase();
  const queue = await queueOf(db, {});
  for (const id of ['a', 'b']) await queue.enqueue(id, { delay_ms: 60_000 });
  expect((await queue.cancel('a')).code).toBe('cancelled');
  expect((await queue.break('b')).code).toBe('broken');
  expect(await queue.delayed()).toEqual([]);
  expect(await queue.dead()).toEqual([]);
  await moveClock(db, 61_000);
  expect((await queue.take()).ids).toEqual([]);
  await expectSoundQueues(db);
});

test('a held run that is cancelled is asked for; one that runs out meanwhile is cancelled at its old place', async () => {
  await using db = await freshDatabase();
  const queue = await queueOf(db, {}, 'a', 'b');
  await takeExactly(db, 'q', 'a');
  expect((await queue.cancel('a')).code).toBe('release_requested');
  await moveClock(db, 31_000);
  expect((await queue.cancel('a')).code).toBe('cancelled');
  await takeExactly(db, 'q', 'b');
  await expectSoundQueues(db);
});
