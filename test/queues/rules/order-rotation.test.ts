import { expect, test } from 'vitest';
import { freshDatabase, type TestDatabase } from '../../support/database.ts';
import { serve, work } from '../../support/served.ts';
import { acquireItem, decide, enqueueItem, makeQueues, onQueue, rowsOf, take } from '../../support/sql-verbs.ts';

const rotating = { rotate_by: 'tenant' };
const ids = (tenant: string, count: number, from = 0) =>
  Array.from({ length: count }, (_, index) => `${tenant}${index + from}`);
/** The tenant of a claim is the letters that its name begins with. */
const tenantOf = (id: string) => /^[a-z]*/.exec(id)?.[0] ?? '';
const ask = (db: TestDatabase, claims: readonly string[], priority = 0) =>
  decide(
    db,
    claims.map((id) => acquireItem('q', id, { labels: { tenant: tenantOf(id) }, priority })),
  );
const enqueue = (db: TestDatabase, runs: readonly string[]) =>
  decide(
    db,
    runs.map((id) => enqueueItem('q', id, { labels: { tenant: tenantOf(id) } })),
  );

test.each([1, 5])(
  'a backlog of one tenant delays the single claim of another by the next free place: limit %i',
  async (limit) => {
    await using db = await freshDatabase();
    await makeQueues(db, ['q'], { ...rotating, concurrency_limit: limit });
    await ask(db, ids('a', 100 + limit));
    expect(await onQueue(db, 'q').held()).toEqual(ids('a', limit));
    await ask(db, ['b0']);
    expect(await serve(db, 'q', 2)).toEqual(['b0', `a${limit}`]);
    // In the middle of the line as well, and again for the same tenant once its claim is over.
    await serve(db, 'q', 20 + limit);
    await ask(db, ['b1']);
    expect(await serve(db, 'q', 1)).toEqual(['b1']);
    await ask(db, ['c0']);
    expect(await serve(db, 'q', 1)).toEqual(['c0']);
  },
);

test('tenants with backlogs share the grants evenly, whoever came first and however much each has', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q'], { ...rotating, concurrency_limit: 2 });
  await ask(db, ids('a', 60));
  await ask(db, ids('b', 20));
  await ask(db, ids('c', 20));
  const served = ['a0', 'a1', ...(await serve(db, 'q'))];
  expect(served).toHaveLength(100);
  const count = (part: readonly string[], tenant: string) => part.filter((id) => tenantOf(id) === tenant).length;
  for (let rounds = 1; rounds <= 20; rounds++) {
    const part = served.slice(0, 3 * rounds + 1);
    const counts = ['a', 'b', 'c'].map((tenant) => count(part, tenant));
    expect([rounds, Math.max(...counts) - Math.min(...counts)]).toEqual([rounds, expect.toSatisfy((n) => n <= 2)]);
  }
  // Within a tenant, in the order in which they came.
  for (const [tenant, all] of [
    ['a', 60],
    ['b', 20],
    ['c', 20],
  ] as const)
    expect(served.filter((id) => tenantOf(id) === tenant)).toEqual(ids(tenant, all));
});

test('a tenant that was away has saved nothing up, and owes nothing', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q'], rotating);
  await ask(db, ['b0', ...ids('a', 30)]);
  await serve(db, 'q', 20);
  // b had one grant, a has had twenty: from here on they take turns.
  await ask(db, ids('b', 5, 1));
  expect(await serve(db, 'q', 8)).toEqual(['b1', 'a20', 'b2', 'a21', 'b3', 'a22', 'b4', 'a23']);
});

test('claims that are granted at once take turns too', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q'], rotating);
  // One after another, each granted at once.
  for (const id of ids('a', 5)) {
    await ask(db, [id]);
    const { body } = await onQueue(db, 'q').look(id);
    await onQueue(db, 'q').release(id, body.fencing_token);
  }
  await ask(db, ['x0', ...ids('a', 2, 5), ...ids('b', 2)]);
  expect(await serve(db, 'q')).toEqual(['b0', 'a5', 'b1', 'a6']);
});

test('runs that workers take rotate likewise, apart from the claims', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q'], { ...rotating, concurrency_limit: 3 });
  await enqueue(db, ids('a', 6));
  await enqueue(db, ids('b', 3));
  expect((await take(db, { queue: 'q', max: 3 })).ids).toEqual(['a0', 'b0', 'a1']);
  await db.query(`update signalbox.lines set concurrency_limit = 9`);
  await enqueue(db, ids('c', 2));
  expect((await take(db, { queue: 'q', max: 6 })).ids).toEqual(['b1', 'c0', 'a2', 'b2', 'c1', 'a3']);
  expect(await rowsOf(db, `select claim_round from signalbox.lines where claim_round <> 0`)).toEqual([]);
});

test('priority counts in turns: a tenant may have what matters more one turn earlier, not always first', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q'], rotating);
  await ask(db, ['x0']);
  await ask(db, ids('a', 3));
  await ask(db, ids('b', 4), 1);
  expect(await serve(db, 'q')).toEqual(['b0', 'a0', 'b1', 'a1', 'b2', 'a2', 'b3']);
});

test('claims without the label share one turn, that of the empty text', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q'], rotating);
  await ask(db, ['x0']);
  await decide(db, [acquireItem('q', '1'), acquireItem('q', '2', { labels: { tenant: '' } })]);
  await decide(db, [acquireItem('q', '3', { labels: { other: 'b' } })]);
  await ask(db, ['b0', 'b1']);
  expect(await serve(db, 'q')).toEqual(['1', 'b0', '2', 'b1', '3']);
});

test.each(['oldest first', 'newest first', 'mixed'])(
  'turns of claims that leave the line unserved come back: %s',
  async (order) => {
    await using db = await freshDatabase();
    await makeQueues(db, ['q'], rotating);
    await ask(db, ['x0', ...ids('a', 40), ...ids('b', 4)]);
    const gone = ids('a', 39, 1);
    const nth = (id: string) => Number(id.slice(1));
    const key = (id: string) =>
      order === 'oldest first' ? nth(id) : order === 'newest first' ? -nth(id) : (nth(id) * 7) % 41;
    for (const id of gone.toSorted((one, other) => key(one) - key(other))) await onQueue(db, 'q').cancel(id);
    // It would have stood behind 39 turns that nobody takes.
    await ask(db, ids('a', 2, 100));
    expect(await serve(db, 'q')).toEqual(['a0', 'b0', 'b1', 'a100', 'b2', 'a101', 'b3']);
  },
);

test('a turn that was served does not come back: ending the rest of its line gives nobody two in a row', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q'], rotating);
  await ask(db, ['x0', ...ids('a', 3), ...ids('b', 3)]);
  expect(await serve(db, 'q', 1)).toEqual(['a0']);
  await onQueue(db, 'q').cancel('a1');
  await onQueue(db, 'q').cancel('a2');
  await ask(db, ['a3']);
  expect(await serve(db, 'q')).toEqual(['b0', 'b1', 'a3', 'b2']);
});

test('latest_only costs no turns: the newest claim of a tenant has that of the one it supersedes', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q'], { ...rotating, supersede_by: 'tenant' });
  await ask(db, ['x0', ...ids('b', 3)]);
  for (const id of ids('a', 10))
    await decide(db, [acquireItem('q', id, { labels: { tenant: 'a' }, mode: 'latest_only' })]);
  expect(await serve(db, 'q')).toEqual(['b0', 'a9', 'b1', 'b2']);
});

test('in a queue that rotates a batch orders nothing: each claim has the turn of its tenant', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q'], rotating);
  await ask(db, ['x0']);
  const of = (id: string, batch: string) => acquireItem('q', id, { labels: { tenant: tenantOf(id) }, batch });
  await decide(db, [of('a0', 'one'), of('a1', 'one'), of('b0', 'two')]);
  expect(await serve(db, 'q')).toEqual(['a0', 'b0', 'a1']);
  await enqueue(db, ['a0r']);
  expect(await work(db, 'q')).toEqual(['a0r']);
  expect(await rowsOf(db, 'select from signalbox.batches')).toEqual([]);
});
