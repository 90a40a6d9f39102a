import { describe, expect, test } from 'vitest';
import { openRacer, waitPatiently } from '../../support/blocked.ts';
import { moveClock } from '../../support/database-clock.ts';
import { freshDatabase, type TestDatabase } from '../../support/database.ts';
import { expectSoundQueues } from '../../support/sound-queues.ts';
import { acquireItem, decide, makeQueues, onQueue, releaseItem, rowsOf } from '../../support/sql-verbs.ts';

const latest = { mode: 'latest_only' } as const;
const ofBranch = (branch: string) => ({ ...latest, labels: { branch } });

/** Whom the queue asked to release, for whom. */
function asked(db: TestDatabase) {
  return rowsOf(
    db,
    `select claim_id, data ->> 'reason' as reason, data ->> 'detail' as detail from signalbox.events
     where type = 'lease.release_requested' order by id`,
  );
}

test('where nobody may wait, a newcomer that is refused ends none that is delayed; one that is granted does', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q'], { max_waiting: 0 });
  const queue = onQueue(db, 'q');
  const older = await queue.acquire('older', latest);
  await queue.release('older', older.body.fencing_token, { outcome: 'retry', retry_after_ms: 60_000 });
  const [token = 0] = await queue.hold('holder');
  expect((await queue.acquire('refused', latest)).code).toBe('queue_full');
  expect((await queue.look('older')).body.state).toBe('delayed');
  await queue.release('holder', token);
  expect((await queue.acquire('newer', latest)).code).toBe('held');
  expect((await queue.look('older')).body).toMatchObject({ state: 'superseded', detail: 'newer' });
  await expectSoundQueues(db);
});

describe('supersede_by', () => {
  test('ends only older claims with the same value of the label; one without the label has the value of none', async () => {
    await using db = await freshDatabase();
    await makeQueues(db, ['q'], { supersede_by: 'branch' });
    const queue = onQueue(db, 'q');
    await queue.hold('holder');
    await queue.acquire('main 1', ofBranch('main'));
    await queue.acquire('fix 1', ofBranch('fix'));
    await queue.acquire('none 1', latest);
    await queue.acquire('plain', { labels: { branch: 'main' } });
    await queue.acquire('main 2', ofBranch('main'));
    expect(await queue.line()).toEqual(['fix 1', 'none 1', 'plain', 'main 2']);
    await queue.acquire('none 2', ofBranch(''));
    expect(await queue.line()).toEqual(['fix 1', 'plain', 'main 2', 'none 2']);
    expect(await queue.look('main 1')).toMatchObject({
      code: 'ended',
      body: { state: 'superseded', reason: 'superseded', detail: 'main 2' },
    });
    await expectSoundQueues(db);
  });

  test('of several in one batch only the last of each value stays', async () => {
    await using db = await freshDatabase();
    await makeQueues(db, ['q'], { supersede_by: 'branch' });
    await onQueue(db, 'q').hold('holder');
    const answers = await decide(
      db,
      ['a', 'b', 'a', 'b', 'a'].map((branch, index) => acquireItem('q', `${branch}${index}`, ofBranch(branch))),
    );
    expect(answers.filter(({ item }) => item === null).map(({ code, claim_id }) => [code, claim_id])).toEqual([
      ['ended', 'a0'],
      ['ended', 'b1'],
      ['ended', 'a2'],
    ]);
    expect(await onQueue(db, 'q').line()).toEqual(['b3', 'a4']);
  });

  test('a delayed retry of an older one ends too', async () => {
    await using db = await freshDatabase();
    await makeQueues(db, ['q'], { concurrency_limit: 2 });
    const queue = onQueue(db, 'q');
    const { body } = await queue.acquire('old', latest);
    await queue.release('old', body.fencing_token, { outcome: 'retry', retry_after_ms: 60_000 });
    // There is room, so this one would be granted without a look at others.
    expect((await queue.acquire('new', latest)).code).toBe('held');
    expect(await queue.look('old')).toMatchObject({ code: 'ended', body: { state: 'superseded', detail: 'new' } });
    await expectSoundQueues(db);
  });

  test('an older holder that asks for a retry while a newer one waits does not come back before it', async () => {
    await using db = await freshDatabase();
    await makeQueues(db, ['q']);
    const queue = onQueue(db, 'q');
    const { body } = await queue.acquire('old', latest);
    await queue.acquire('new', latest);
    expect(await queue.release('old', body.fencing_token, { outcome: 'retry', retry_after_ms: 0 })).toMatchObject({
      code: 'released',
      body: { state: 'superseded' },
    });
    expect([await queue.held(), await queue.line()]).toEqual([['new'], []]);
    expect(
      await rowsOf(db, `select data ->> 'detail' as by from signalbox.events where type = 'lease.superseded'`),
    ).toEqual([{ by: 'new' }]);
    await expectSoundQueues(db);
  });

  test('nor does an offer that nobody heard of', async () => {
    await using db = await freshDatabase();
    await makeQueues(db, ['q']);
    const queue = onQueue(db, 'q');
    const [token = 0] = await queue.hold('holder');
    await queue.acquire('old', { ...latest, listen_ms: 0 });
    await queue.release('holder', token);
    await queue.acquire('new', latest);
    await moveClock(db, 11_000);
    await queue.advance();
    expect([await queue.held(), await queue.line()]).toEqual([['new'], []]);
    expect(await queue.look('old')).toMatchObject({ code: 'ended', body: { state: 'superseded', detail: 'new' } });
    await expectSoundQueues(db);
  });
});

describe('cancel_in_progress', () => {
  test.each([
    { kind: 'narrow', limit: 3 },
    { kind: 'wide', limit: 300 },
  ])('a newcomer that is granted at once asks older holders too: $kind queue', async ({ limit }) => {
    await using db = await freshDatabase();
    await makeQueues(db, ['q'], { concurrency_limit: limit, cancel_in_progress: true });
    const queue = onQueue(db, 'q');
    const { body } = await queue.acquire('old', latest);
    await queue.hold('plain');
    expect((await queue.acquire('new', latest)).code).toBe('held');
    expect(await queue.held()).toEqual(['old', 'plain', 'new']);
    expect(await asked(db)).toEqual([{ claim_id: 'old', reason: 'superseded', detail: 'new' }]);
    expect((await queue.renew('old', body.fencing_token)).body.release_requested).toBe(true);
    await expectSoundQueues(db);
  });

  test('asks those alone that it would have ended, had they waited, each once; the place goes on by release', async () => {
    await using db = await freshDatabase();
    await makeQueues(db, ['q'], { concurrency_limit: 5, cancel_in_progress: true, supersede_by: 'branch' });
    const queue = onQueue(db, 'q');
    await queue.acquire('higher', { ...ofBranch('main'), priority: 1 });
    const { body } = await queue.acquire('main', ofBranch('main'));
    await queue.acquire('fix', ofBranch('fix'));
    await queue.acquire('plain', { labels: { branch: 'main' } });
    await queue.acquire('skip', { mode: 'skip_if_busy', labels: { branch: 'main' } });
    for (const claim of ['new', 'newest']) expect((await queue.acquire(claim, ofBranch('main'))).code).toBe('waiting');
    // Asked again by the same claim, nothing is asked of anybody.
    await queue.acquire('newest', ofBranch('main'));
    expect(await asked(db)).toEqual([{ claim_id: 'main', reason: 'superseded', detail: 'new' }]);
    expect(
      await rowsOf(
        db,
        `select data ->> 'labels' as labels from signalbox.events where type = 'lease.release_requested'`,
      ),
    ).toEqual([{ labels: '{"branch": "main"}' }]);
    expect(await queue.line()).toEqual(['newest']);
    await queue.release('main', body.fencing_token);
    expect((await queue.held()).toSorted()).toEqual(['fix', 'higher', 'newest', 'plain', 'skip']);
    await expectSoundQueues(db);
  });

  test('who is refused asks nobody', async () => {
    await using db = await freshDatabase();
    await makeQueues(db, ['q'], { cancel_in_progress: true, max_waiting: 0 });
    const queue = onQueue(db, 'q');
    await queue.acquire('old', latest);
    expect((await queue.acquire('new', latest)).code).toBe('queue_full');
    await queue.configure({ closed: true });
    expect((await queue.acquire('newer', latest)).code).toBe('queue_closed');
    expect(await asked(db)).toEqual([]);
  });

  test('one that came back in vain does not ask: it is superseded by the newer holder', async () => {
    await using db = await freshDatabase();
    await makeQueues(db, ['q'], { concurrency_limit: 2, cancel_in_progress: true });
    const queue = onQueue(db, 'q');
    const { body } = await queue.acquire('old', latest);
    await queue.acquire('new', latest);
    await queue.release('old', body.fencing_token, { outcome: 'retry', retry_after_ms: 0 });
    expect([await queue.held(), await queue.line()]).toEqual([['new'], []]);
  });

  test.each(['renewed first', 'asked first'])(
    'a holder that is renewing while it is asked learns of it: %s',
    async (order) => {
      await using db = await freshDatabase();
      await waitPatiently(db);
      await makeQueues(db, ['q'], { concurrency_limit: 2, cancel_in_progress: true });
      const tokens = (
        await decide(
          db,
          ['a', 'b'].map((claim) => acquireItem('q', claim, latest)),
        )
      ).flatMap(({ code, claim_id, body }) => (code === 'held' ? [[claim_id ?? '', body.fencing_token] as const] : []));
      const token = new Map(tokens).get('b') ?? 0;
      await db.query(`update signalbox.leases set release_requested = false where queue = 'q'`);
      const [first, second] = [await openRacer(db), await openRacer(db)];
      const renew = (on: typeof first) => onQueue(on.client, 'q').renew('b', token);
      const ask = (on: typeof first) => decide(on.client, [acquireItem('q', 'new', latest)]);
      await first.client.query('begin');
      await (order === 'renewed first' ? renew : ask)(first);
      const late = (order === 'renewed first' ? ask : renew)(second);
      await second.isBlocked();
      await first.client.query('commit');
      const answer = await late;
      if ('body' in answer) expect(answer).toMatchObject({ code: 'renewed', body: { release_requested: true } });
      expect((await renew(first)).body.release_requested).toBe(true);
      expect(await queueLine(db)).toEqual(['new']);
      await expectSoundQueues(db);
    },
  );

  test('a place given up while the newcomer arrives is its own, and nobody is asked in vain', async () => {
    await using db = await freshDatabase();
    await waitPatiently(db);
    await makeQueues(db, ['q'], { cancel_in_progress: true });
    const { body } = await onQueue(db, 'q').acquire('old', latest);
    const [first, second] = [await openRacer(db), await openRacer(db)];
    await first.client.query('begin');
    await decide(first.client, [releaseItem('q', 'old', body.fencing_token)]);
    const waited = decide(second.client, [acquireItem('q', 'new', latest)], { wait: true });
    await second.isBlocked();
    await first.client.query('commit');
    expect(await waited).toMatchObject([{ item: 0, code: 'held', claim_id: 'new' }]);
    expect(await asked(db)).toEqual([]);
  });
});

const queueLine = (db: TestDatabase) => onQueue(db, 'q').line();
