import { expect, test } from 'vitest';
import { moveClock } from '../../support/database-clock.ts';
import { freshDatabase } from '../../support/database.ts';
import { acquireItem, decide, makeQueues, oneOf, onQueue, releaseItem, rowsOf } from '../../support/sql-verbs.ts';
import { expectSoundQueues } from '../../support/sound-queues.ts';

test('a queue without limit holds a thousand, reuses freed slots first, and its tokens grow', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q'], { concurrency_limit: null });
  const items = Array.from({ length: 1000 }, (_, index) => acquireItem('q', `${index}`));
  const granted = await decide(db, items);
  expect(granted.filter(({ code }) => code === 'held')).toHaveLength(1000);
  expect(granted.map(({ body }) => body.slot)).toEqual(items.map((_, index) => index + 1));
  const tokens = granted.map(({ body }) => body.fencing_token);
  expect(tokens.toSorted((a, b) => a - b)).toEqual(tokens);
  expect(new Set(tokens).size).toBe(1000);

  const freed = granted.filter(({ item }) => (item ?? 0) % 10 === 0);
  await decide(
    db,
    freed.map(({ claim_id, body }) => releaseItem('q', claim_id ?? '', body.fencing_token)),
  );
  expect(await oneOf(db, 'select held, top_slot from signalbox.lines')).toEqual({ held: 900, top_slot: 1000 });
  await expectSoundQueues(db);

  const again = await decide(
    db,
    Array.from({ length: 101 }, (_, index) => acquireItem('q', `again ${index}`)),
  );
  const slots = again.map(({ body }) => body.slot).sort((a, b) => a - b);
  expect(slots).toEqual([...freed.map(({ body }) => body.slot), 1001]);
  expect(Math.min(...again.map(({ body }) => body.fencing_token))).toBeGreaterThan(tokens.at(-1) ?? Infinity);
  await expectSoundQueues(db);
});

test('renewing, looking and releasing find their slot in a wide queue', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q'], { concurrency_limit: 300 });
  const queue = onQueue(db, 'q');
  const [a = 0, b = 0] = await queue.hold('a', 'b');
  expect(await queue.renew('b', b)).toMatchObject({ code: 'renewed', body: { slot: 2 } });
  expect(await queue.look('a')).toMatchObject({ code: 'held', body: { slot: 1 } });
  expect((await queue.release('a', a)).code).toBe('released');
  expect(await queue.renew('a', a)).toMatchObject({ code: 'lease_lost', body: { reason: 'released' } });
  expect(await queue.acquire('a')).toMatchObject({ code: 'claim_ended', body: { state: 'released' } });
  await expectSoundQueues(db);
});

test('making a queue wide while it holds, has free slots and a lock delay keeps all of them', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q'], { concurrency_limit: 4, lock_delay_ms: 5000 });
  const queue = onQueue(db, 'q');
  const [a = 0, , , d = 0] = await queue.hold('a', 'b', 'c', 'd');
  await queue.release('a', a);
  await queue.break('b');
  await queue.configure({ concurrency_limit: null });
  await expectSoundQueues(db);
  expect(await oneOf(db, 'select held, free_head, top_slot from signalbox.lines')).toEqual({
    held: 3,
    free_head: 1,
    top_slot: 4,
  });
  const taken = [(await queue.acquire('e')).body.slot, (await queue.acquire('f')).body.slot];
  expect(taken).toEqual([1, 5]);
  await moveClock(db, 5100);
  await queue.advance();
  await expectSoundQueues(db);
  expect((await queue.acquire('g')).body.slot).toBe(2);
  expect((await queue.release('d', d)).code).toBe('released');
  await expectSoundQueues(db);
});

test('a wide queue whose limit is lowered drains, and grants again below it', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q'], { concurrency_limit: null });
  const queue = onQueue(db, 'q');
  const tokens = await queue.hold('a', 'b', 'c');
  await queue.configure({ concurrency_limit: 1 });
  expect(await oneOf(db, 'select wide from signalbox.lines')).toEqual({ wide: true });
  expect((await queue.acquire('d')).code).toBe('waiting');
  for (const [index, claim] of ['a', 'b', 'c'].entries()) {
    expect(await queue.held()).not.toContain('d');
    await queue.release(claim, tokens[index] ?? 0);
  }
  expect(await queue.held()).toEqual(['d']);
  await expectSoundQueues(db);
});

test('deleting a wide queue leaves none of its rows', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q'], { concurrency_limit: null });
  await onQueue(db, 'q').hold('a', 'b');
  await onQueue(db, 'q').delete({ force: true });
  const left = await rowsOf(
    db,
    `select queue from signalbox.lines union all select queue from signalbox.leases
     union all select queue from signalbox.wide_slots union all select queue from signalbox.queues`,
  );
  expect(left).toEqual([]);
});
