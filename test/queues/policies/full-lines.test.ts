import { describe, expect, test } from 'vitest';
import { openRacer, waitPatiently } from '../../support/blocked.ts';
import { freshDatabase, type TestDatabase } from '../../support/database.ts';
import { expectSoundQueues } from '../../support/sound-queues.ts';
import { acquireItem, decide, makeQueues, onQueue, releaseItem } from '../../support/sql-verbs.ts';

/** A queue with one holder, and a line that is full when these wait. */
async function fullLine(db: TestDatabase, settings: object, waiting: Readonly<Record<string, number>>) {
  const max_waiting = Object.keys(waiting).length;
  await makeQueues(db, ['q'], { ...settings, max_waiting });
  const queue = onQueue(db, 'q');
  const [token = 0] = await queue.hold('holder');
  for (const [claim, priority] of Object.entries(waiting))
    expect((await queue.acquire(claim, { priority })).code).toBe('waiting');
  return { queue, token };
}

const codes = (answers: Awaited<ReturnType<typeof decide>>) => answers.map(({ code, claim_id }) => [code, claim_id]);

describe('on_full drop_oldest', () => {
  test('the first in order that is not of higher priority ends for the newcomer', async () => {
    await using db = await freshDatabase();
    const { queue } = await fullLine(db, { on_full: 'drop_oldest' }, { a: 0, b: 2, c: 1 });
    expect(await queue.line()).toEqual(['b', 'c', 'a']);
    expect(codes(await decide(db, [acquireItem('q', 'new', { priority: 1 })]))).toEqual([
      ['ended', 'c'],
      ['waiting', 'new'],
    ]);
    expect(await queue.line()).toEqual(['b', 'new', 'a']);
    expect(await queue.look('c')).toMatchObject({
      code: 'ended',
      body: { state: 'superseded', reason: 'overflow', detail: 'new' },
    });
    expect((await queue.acquire('last', { priority: -1 })).code).toBe('queue_full');
    expect(await queue.line()).toEqual(['b', 'new', 'a']);
    await expectSoundQueues(db);
  });

  test('of a batch that is longer than the line the last ones stay', async () => {
    await using db = await freshDatabase();
    const { queue } = await fullLine(db, { on_full: 'drop_oldest' }, { a: 0, b: 0 });
    const answers = await decide(
      db,
      ['c', 'd', 'e'].map((claim) => acquireItem('q', claim)),
    );
    expect(codes(answers)).toEqual([
      ...[
        ['ended', 'a'],
        ['waiting', 'c'],
      ],
      ...[
        ['ended', 'b'],
        ['waiting', 'd'],
      ],
      ...[
        ['ended', 'c'],
        ['waiting', 'e'],
      ],
    ]);
    expect(await queue.line()).toEqual(['d', 'e']);
    await expectSoundQueues(db);
  });

  test('latest_only ends its like first; it drops another only where that leaves no room', async () => {
    await using db = await freshDatabase();
    await makeQueues(db, ['q'], { on_full: 'drop_oldest', max_waiting: 2 });
    const queue = onQueue(db, 'q');
    await queue.hold('holder');
    await queue.acquire('plain');
    await queue.acquire('old', { mode: 'latest_only' });
    await queue.acquire('new', { mode: 'latest_only' });
    expect(await queue.line()).toEqual(['plain', 'new']);
    await queue.configure({ max_waiting: 1 });
    await queue.acquire('newest', { mode: 'latest_only' });
    expect(await queue.line()).toEqual(['newest']);
    expect((await queue.look('plain')).body.reason).toBe('overflow');
    expect((await queue.look('new')).body.reason).toBe('superseded');
    await expectSoundQueues(db);
  });

  test('a heavy head that is dropped lets those behind it go', async () => {
    await using db = await freshDatabase();
    await makeQueues(db, ['q'], { concurrency_limit: 3, on_full: 'drop_oldest', max_waiting: 1 });
    const queue = onQueue(db, 'q');
    await queue.hold('holder');
    expect((await queue.acquire('heavy', { weight: 3 })).code).toBe('waiting');
    expect(codes(await decide(db, [acquireItem('q', 'light')]))).toEqual([
      ['ended', 'heavy'],
      ['held', 'light'],
    ]);
    await expectSoundQueues(db);
  });
});

describe('on_full drop_last', () => {
  test('the last in order ends for a newcomer whose place is before it; others are refused', async () => {
    await using db = await freshDatabase();
    const { queue } = await fullLine(db, { on_full: 'drop_last' }, { a: 0, b: 0, c: 1 });
    expect((await queue.acquire('same')).code).toBe('queue_full');
    expect(codes(await decide(db, [acquireItem('q', 'new', { priority: 2 })]))).toEqual([
      ['ended', 'b'],
      ['waiting', 'new'],
    ]);
    expect(await queue.line()).toEqual(['new', 'c', 'a']);
    expect((await queue.look('b')).body).toMatchObject({ state: 'superseded', reason: 'overflow', detail: 'new' });
    await expectSoundQueues(db);
  });

  test('goes by the places of a rotation, without taking a turn in vain', async () => {
    await using db = await freshDatabase();
    await makeQueues(db, ['q'], { on_full: 'drop_last', max_waiting: 3, rotate_by: 'tenant' });
    const queue = onQueue(db, 'q');
    await queue.hold('holder');
    const ask = (claim: string, tenant: string) => queue.acquire(claim, { labels: { tenant } });
    for (const claim of ['a1', 'a2', 'a3']) await ask(claim, 'a');
    for (let n = 4; n < 8; n++) expect((await ask(`a${n}`, 'a')).code).toBe('queue_full');
    expect((await ask('b1', 'b')).code).toBe('waiting');
    expect((await queue.look('a3')).body.reason).toBe('overflow');
    await queue.configure({ max_waiting: null });
    await ask('a8', 'a');
    // What was refused took no turn, and what was dropped gave its own back: it stands where a3 did.
    const places = await db.query<{ claim_id: string; place: string }>(
      `select claim_id, place from signalbox.waiting where queue = 'q' order by place`,
    );
    const place = (claim: string) => Number(places.rows.find(({ claim_id: id }) => id === claim)?.place);
    expect(place('a8') - place('a2')).toBe(1000);
    await expectSoundQueues(db);
  });

  test('goes by the place of a batch that stands in line', async () => {
    await using db = await freshDatabase();
    await makeQueues(db, ['q'], { on_full: 'drop_last', max_waiting: 2 });
    const queue = onQueue(db, 'q');
    await queue.hold('holder');
    await queue.acquire('one', { batch: 'push' });
    await queue.acquire('other');
    expect((await queue.acquire('third')).code).toBe('queue_full');
    expect((await queue.acquire('two', { batch: 'push' })).code).toBe('waiting');
    expect((await queue.look('other')).body.reason).toBe('overflow');
    expect((await queue.acquire('three', { batch: 'push' })).code).toBe('queue_full');
    expect((await queue.acquire('zero', { batch: 'other', batch_rank: 0 })).code).toBe('queue_full');
    await expectSoundQueues(db);
  });
});

test.each(['drop_oldest', 'drop_last'])(
  '%s with max_waiting 0 drops nobody, also of a line from before',
  async (onFull) => {
    await using db = await freshDatabase();
    const { queue } = await fullLine(db, { on_full: onFull }, { a: 0 });
    await queue.configure({ max_waiting: 0 });
    expect((await queue.acquire('new', { priority: 5 })).code).toBe('queue_full');
    expect((await queue.acquire('newer', { priority: 5, mode: 'latest_only' })).code).toBe('queue_full');
    expect(await queue.line()).toEqual(['a']);
  },
);

test.each(['grant first', 'newcomer first'])(
  'a claim that gets its place while a newcomer would drop it has one end only: %s',
  async (order) => {
    await using db = await freshDatabase();
    await waitPatiently(db);
    const { queue, token } = await fullLine(db, { on_full: 'drop_oldest' }, { a: 0 });
    const [first, second] = [await openRacer(db), await openRacer(db)];
    const release = releaseItem('q', 'holder', token);
    const acquire = acquireItem('q', 'new');
    const [early, late] = order === 'grant first' ? [release, acquire] : [acquire, release];
    await first.client.query('begin');
    await decide(first.client, [early]);
    const waited = decide(second.client, [late], { wait: true });
    await second.isBlocked();
    await first.client.query('commit');
    await waited;
    expect([await queue.held(), await queue.line(), (await queue.look('a')).code]).toEqual(
      order === 'grant first' ? [['a'], ['new'], 'held'] : [['new'], [], 'ended'],
    );
    await expectSoundQueues(db);
  },
);
