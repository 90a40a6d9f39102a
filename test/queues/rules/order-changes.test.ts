import { expect, test } from 'vitest';
import { freshDatabase, type TestDatabase } from '../../support/database.ts';
import { serve } from '../../support/served.ts';
import { acquireItem, decide, enqueueItem, makeQueues, oneOf, onQueue, rowsOf } from '../../support/sql-verbs.ts';

const changes = [
  { change: 'to a head start', before: {}, after: { priority_head_start_ms: 86_400_000 } },
  { change: 'to a rotation', before: {}, after: { rotate_by: 'tenant' } },
  {
    change: 'from a head start to priority',
    before: { priority_head_start_ms: 1000 },
    after: { priority_head_start_ms: null },
  },
  { change: 'of the head start', before: { priority_head_start_ms: 86_400_000 }, after: { priority_head_start_ms: 1 } },
  { change: 'from a rotation to priority', before: { rotate_by: 'tenant' }, after: { rotate_by: null } },
  {
    change: 'from a rotation to a head start',
    before: { rotate_by: 'tenant' },
    after: { rotate_by: null, priority_head_start_ms: 500 },
  },
  { change: 'of the label', before: { rotate_by: 'tenant' }, after: { rotate_by: 'branch' } },
];
const crowd = [
  { id: 'one', priority: -1_000_000, labels: { tenant: 'a' } },
  { id: 'two', priority: 1_000_000, labels: { tenant: 'a' } },
  { id: 'three', priority: 0, labels: { tenant: 'b' } },
];
const newcomer = { priority: 1_000_000, labels: { tenant: 'new', branch: 'new' } };

test.each(changes)(
  'a change $change: who stands in line keeps the order and goes before newcomers',
  async ({ before, after }) => {
    await using db = await freshDatabase();
    await makeQueues(db, ['q'], before);
    const queue = onQueue(db, 'q');
    await queue.hold('holder');
    await decide(
      db,
      crowd.map(({ id, ...rest }) => acquireItem('q', id, rest)),
    );
    await decide(
      db,
      crowd.map(({ id, ...rest }) => enqueueItem('q', `run ${id}`, rest)),
    );
    const [claims, runs] = [await queue.line(), await queue.line('run')];
    await queue.configure(after);
    await queue.acquire('new', newcomer);
    await queue.enqueue('run new', newcomer);
    expect(await queue.line()).toEqual([...claims, 'new']);
    expect(await queue.line('run')).toEqual([...runs, 'run new']);
  },
);

test.each(changes)(
  'a change $change: what is held, delayed or dead goes back before newcomers',
  async ({ before, after }) => {
    await using db = await freshDatabase();
    await makeQueues(db, ['q'], { ...before, concurrency_limit: 4, max_attempts: 1, on_failure: 'step_around' });
    const queue = onQueue(db, 'q');
    // Granted at once, before anybody stood in line.
    const { body } = await queue.acquire('held', { priority: -1_000_000 });
    await queue.enqueue('delayed', { priority: -1_000_000, delay_ms: 60_000 });
    await queue.enqueue('dead', { priority: -1_000_000 });
    const { claims } = await queue.take(1);
    await queue.release('dead', claims[0]?.body.fencing_token ?? 0, { outcome: 'retry', retry_after_ms: 0 });
    expect(await queue.dead()).toEqual(['dead: max_attempts']);
    await queue.configure({ ...after, concurrency_limit: 1 });
    await queue.acquire('new', newcomer);
    await queue.enqueue('run new', newcomer);
    await queue.configure({ paused: true });
    await queue.release('held', body.fencing_token, { outcome: 'retry', retry_after_ms: 0 });
    await rowsOf(db, `select * from signalbox_v1.redrive('q', null, 'tester')`);
    await db.query(`update signalbox.delayed set due_at = signalbox.clock()`);
    await db.query(`update signalbox.lines set next_due_at = signalbox.clock()`);
    await queue.advance();
    expect(await queue.line()).toEqual(['held', 'new']);
    expect((await queue.line('run')).at(-1)).toBe('run new');
  },
);

test('a pattern that changes the order reaches its queues, those with a line too', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['team/full', 'team/own', 'other']);
  await onQueue(db, 'team/own').configure({ rotate_by: 'branch' });
  for (const name of ['team/full', 'team/own', 'other']) await onQueue(db, name).hold('holder');
  await onQueue(db, 'team/full').acquire('before', { labels: { tenant: 'a' } });
  await setPattern(db, { rotate_by: 'tenant' });
  expect(
    await rowsOf(
      db,
      `select queue, rotates, rotate_by from signalbox.lines join signalbox.queues using (queue) order by 1`,
    ),
  ).toEqual([
    { queue: 'other', rotates: false, rotate_by: null },
    { queue: 'team/full', rotates: true, rotate_by: 'tenant' },
    { queue: 'team/own', rotates: true, rotate_by: 'branch' },
  ]);
  const ask = (id: string) => acquireItem('team/full', id, { labels: { tenant: id.slice(0, 1) } });
  await decide(db, ['a1', 'a2', 'b1'].map(ask));
  expect(await onQueue(db, 'team/full').line()).toEqual(['before', 'a1', 'b1', 'a2']);
  // And a queue made under it rotates from its first claim.
  await decide(db, [acquireItem('team/new', 'x')]);
  await makeQueues(db, ['team/new']);
  expect(await oneOf(db, `select rotates from signalbox.lines where queue = 'team/new'`)).toEqual({ rotates: true });
});

test('a setting that says what it said begins no new order, nor does a head start while the queue rotates', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q'], { rotate_by: 'tenant' });
  const ask = (id: string) => acquireItem('q', id, { labels: { tenant: id.slice(0, 1) } });
  await decide(db, ['x1', 'a1', 'a2', 'a3'].map(ask));
  await onQueue(db, 'q').configure({ rotate_by: 'tenant', priority_head_start_ms: 5000, max_waiting: 50 });
  await decide(db, [ask('b1')]);
  expect(await serve(db, 'q')).toEqual(['a1', 'b1', 'a2', 'a3']);
});

test('however often the order changes, places stay exact; with nobody left they begin at 0 again', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q']);
  const queue = onQueue(db, 'q');
  const [token = 0] = await queue.hold('holder');
  for (let change = 0; change < 20; change++) {
    await queue.configure(
      change % 2 === 0
        ? { rotate_by: null, priority_head_start_ms: 86_400_000 - change }
        : { rotate_by: 'tenant', priority_head_start_ms: null },
    );
    await queue.acquire(`low ${change}`, { priority: -1_000_000 });
    await queue.acquire(`high ${change}`, { priority: 1_000_000 });
  }
  const expected = Array.from({ length: 20 }, (_, change) => [`high ${change}`, `low ${change}`]).flat();
  expect(await queue.line()).toEqual(expected);
  await queue.release('holder', token);
  for (const id of expected) {
    const { code, body } = await queue.look(id);
    if (code === 'held') await queue.release(id, body.fencing_token);
    else await queue.cancel(id);
  }
  await queue.configure({ rotate_by: null, priority_head_start_ms: null });
  await queue.configure({ priority_head_start_ms: 1000 });
  expect(await oneOf(db, 'select order_base from signalbox.lines')).toEqual({ order_base: '0' });
});

async function setPattern(db: TestDatabase, settings: object): Promise<void> {
  await rowsOf(db, `select * from signalbox_v1.set_pattern('team/*', $1)`, [JSON.stringify(settings)]);
  await rowsOf(db, `select * from signalbox_v1.inherit_settings('team/')`);
}
