import { expect, test } from 'vitest';
import { moveClock } from '../../support/database-clock.ts';
import { freshDatabase } from '../../support/database.ts';
import { makeQueues, onQueue } from '../../support/sql-verbs.ts';

const orders = [
  { order: 'by priority', settings: {} },
  { order: 'with a head start', settings: { priority_head_start_ms: 1000 } },
  { order: 'in rotation', settings: { rotate_by: 'tenant' } },
];
const places = [
  { retry_place: 'kept', line: ['retried', 'second', 'third'] },
  { retry_place: 'last', line: ['second', 'third', 'retried'] },
];
const all = orders.flatMap((one) => places.map((place) => ({ ...one, ...place })));

test.each(all)(
  'a claim that is retried stands $order: its place is $retry_place',
  async ({ settings, retry_place, line }) => {
    await using db = await freshDatabase();
    await makeQueues(db, ['q'], { ...settings, retry_place });
    const queue = onQueue(db, 'q');
    const labels = { tenant: 'a' };
    const [token = 0] = await queue.hold('holder');
    for (const id of ['retried', 'second', 'third']) await queue.acquire(id, { labels });
    await queue.release('holder', token);
    const { body } = await queue.look('retried');
    // At once: where the line stands still, one sees where.
    await queue.configure({ paused: true });
    await queue.release('retried', body.fencing_token, { outcome: 'retry', retry_after_ms: 0 });
    expect(await queue.line()).toEqual(line);
  },
);

test.each(all)(
  'a run that comes back after a delay stands $order: its place is $retry_place',
  async ({ settings, retry_place, line }) => {
    await using db = await freshDatabase();
    await makeQueues(db, ['q'], { ...settings, retry_place, on_failure: 'step_around' });
    const queue = onQueue(db, 'q');
    const labels = { tenant: 'a' };
    for (const id of ['retried', 'second', 'third']) await queue.enqueue(id, { labels });
    const { claims } = await queue.take(1);
    await queue.release('retried', claims[0]?.body.fencing_token ?? 0, { outcome: 'retry', retry_after_ms: 5000 });
    // It joins the line as it was when it was retried.
    await queue.enqueue('fourth', { labels });
    expect(await queue.line('run')).toEqual(['second', 'third', 'fourth']);
    await moveClock(db, 6000);
    await queue.advance();
    expect(await queue.line('run')).toEqual([...line, 'fourth']);
  },
);

test.each(all)(
  'a run whose taker died stands $order: its place is $retry_place',
  async ({ settings, retry_place, line }) => {
    await using db = await freshDatabase();
    await makeQueues(db, ['q'], { ...settings, retry_place });
    const queue = onQueue(db, 'q');
    for (const id of ['retried', 'second', 'third']) await queue.enqueue(id, { labels: { tenant: 'a' } });
    await queue.take(1);
    await moveClock(db, 31_000);
    await queue.advance();
    expect(await queue.line('run')).toEqual(line);
  },
);

test.each(all)(
  'granted at once and retried, $order: its place is $retry_place',
  async ({ settings, retry_place, line }) => {
    await using db = await freshDatabase();
    await makeQueues(db, ['q'], { ...settings, retry_place });
    const queue = onQueue(db, 'q');
    const labels = { tenant: 'a' };
    const { body } = await queue.acquire('retried', { labels });
    for (const id of ['second', 'third']) await queue.acquire(id, { labels });
    await queue.configure({ paused: true });
    await queue.release('retried', body.fencing_token, { outcome: 'retry', retry_after_ms: 0 });
    expect(await queue.line()).toEqual(line);
  },
);

test.each(orders)('$order, an offer that lapses keeps its place even where retries go last', async ({ settings }) => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q'], { ...settings, retry_place: 'last' });
  const queue = onQueue(db, 'q');
  const [token = 0] = await queue.hold('holder');
  await queue.acquire('offered', { listen_ms: 0 });
  await queue.acquire('second');
  await queue.release('holder', token);
  expect(await queue.held()).toEqual(['offered']);
  await queue.configure({ paused: true });
  await moveClock(db, 11_000);
  await queue.advance();
  expect(await queue.line()).toEqual(['offered', 'second']);
});

test.each(orders)(
  '$order, a run given back untouched keeps its place even where retries go last',
  async ({ settings }) => {
    await using db = await freshDatabase();
    await makeQueues(db, ['q'], { ...settings, retry_place: 'last' });
    const queue = onQueue(db, 'q');
    for (const id of ['first', 'second']) await queue.enqueue(id);
    const { claims } = await queue.take(1);
    await queue.giveBack('first', claims[0]?.body.fencing_token ?? 0);
    expect(await queue.line('run')).toEqual(['first', 'second']);
  },
);

test('last is behind those of its own priority, and out of its batch', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q'], { retry_place: 'last' });
  const queue = onQueue(db, 'q');
  const { body } = await queue.acquire('a1', { priority: 1, batch: 'a' });
  await queue.acquire('low');
  await queue.acquire('high', { priority: 1 });
  await queue.acquire('a2', { priority: 1, batch: 'a' });
  await queue.configure({ paused: true });
  await queue.release('a1', body.fencing_token, { outcome: 'retry', retry_after_ms: 0 });
  expect(await queue.line()).toEqual(['a2', 'high', 'a1', 'low']);
});

test('one that is retried for ever passes nobody where retries go last, and everybody where they keep their place', async () => {
  for (const [retry_place, served] of [
    ['kept', ['again', 'again', 'again']],
    ['last', ['second', 'third', 'again']],
  ] as const) {
    await using db = await freshDatabase();
    await makeQueues(db, ['q'], { retry_place });
    const queue = onQueue(db, 'q');
    await queue.acquire('again');
    for (const id of ['second', 'third']) await queue.acquire(id);
    const grants: string[] = [];
    while (grants.length < 3) {
      const [holder = ''] = await queue.held();
      const { body } = await queue.look(holder);
      await queue.release(
        holder,
        body.fencing_token,
        holder === 'again' ? { outcome: 'retry', retry_after_ms: 0 } : {},
      );
      grants.push(...(await queue.held()));
    }
    expect([retry_place, grants]).toEqual([retry_place, served]);
  }
});
