import { expect, test } from 'vitest';
import { moveClock } from '../../support/database-clock.ts';
import { freshDatabase, type TestDatabase } from '../../support/database.ts';
import { acquireItem, decide, makeQueues, oneOf, onQueue, rowsOf } from '../../support/sql-verbs.ts';

/** Tokens in the order in which they were granted, by the event that was committed with each. */
async function grantedTokens(db: TestDatabase): Promise<number[]> {
  const rows = await rowsOf<{ token: number }>(
    db,
    `select (data ->> 'fencing_token')::float8 as token from signalbox.events where type = 'lease.granted'
     order by xid, id`,
  );
  return rows.map(({ token }) => token);
}

function expectGrowing(tokens: readonly number[], count: number): void {
  expect(tokens).toHaveLength(count);
  tokens.forEach((token, index) => {
    expect(token).toBeLessThanOrEqual(Number.MAX_SAFE_INTEGER);
    if (index > 0) expect(token).toBeGreaterThan(tokens[index - 1] ?? Infinity);
  });
}

test.each(['narrow', 'wide'])('tokens of a %s queue grow across release, takeover and break', async (width) => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q'], width === 'wide' ? { concurrency_limit: null } : {});
  const queue = onQueue(db, 'q');
  await queue.configure({ concurrency_limit: 1 });
  const [a = 0] = await queue.hold('a');
  await queue.release('a', a);
  await queue.hold('b');
  await moveClock(db, 31_000);
  await queue.hold('c');
  await queue.break('c');
  await queue.hold('d');
  expectGrowing(await grantedTokens(db), 4);
});

test.each(['narrow', 'wide'])('tokens of a %s queue grow while the clock goes back one hour', async (width) => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q'], width === 'wide' ? { concurrency_limit: null } : { concurrency_limit: 3 });
  const queue = onQueue(db, 'q');
  const [a = 0] = await queue.hold('a', 'b');
  await moveClock(db, -3_600_000);
  await queue.hold('c');
  await queue.release('a', a);
  await queue.hold('d');
  expectGrowing(await grantedTokens(db), 4);
});

test('tokens grow across the deletion and remaking of a queue', async () => {
  await using db = await freshDatabase();
  for (let round = 0; round < 3; round++) {
    await makeQueues(db, ['q']);
    await onQueue(db, 'q').hold(`a${round}`);
    expect((await onQueue(db, 'q').delete({ force: true })).at(-1)?.code).toBe('deleted');
  }
  expectGrowing(await grantedTokens(db), 3);
});

test.each(['narrow', 'wide'])(
  'each of several grants of one call in a %s queue has a token of its own',
  async (width) => {
    await using db = await freshDatabase();
    await makeQueues(db, ['q'], width === 'wide' ? { concurrency_limit: null } : {});
    const queue = onQueue(db, 'q');
    await queue.configure({ paused: true });
    for (let claim = 0; claim < 50; claim++) await queue.acquire(`${claim}`);
    // A clock that stands still: only the count of grants can tell these tokens apart.
    await db.query(
      `create or replace function signalbox.clock() returns timestamptz language sql volatile parallel safe
     as $$ select timestamptz '2026-06-01 00:00:00Z' $$`,
    );
    await db.query('select signalbox.make_partitions(7)');
    await queue.configure({ paused: false, concurrency_limit: width === 'wide' ? null : 50 });
    await decide(
      db,
      ['x', 'y'].map((claim) => acquireItem('q', claim)),
    );
    expectGrowing(await grantedTokens(db), width === 'wide' ? 52 : 50);
  },
);

test('a token is the microseconds since 2026 where the queue has no larger one, exact in JSON for 285 years', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q']);
  const [token = 0] = await onQueue(db, 'q').hold('a');
  const { floor } = await oneOf<{ floor: number }>(db, 'select signalbox.token_floor()::float8 as floor');
  expect(floor - token).toBeGreaterThanOrEqual(0);
  expect(floor - token).toBeLessThan(60_000_000);
  const { year } = await oneOf<{ year: number }>(
    db,
    `select extract(year from timestamptz '2026-01-01Z' + make_interval(secs => (2::float8 ^ 53) / 1e6))::int as year`,
  );
  expect(year).toBe(2311);
});

test('at limit 2 the newest token is that of the slot, so that a newer grant beside it locks nobody out', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q'], { concurrency_limit: 2 });
  const queue = onQueue(db, 'q');
  const [a = 0, b = 0] = await queue.hold('a', 'b');
  const newest = () => rowsOf(db, 'select slot, fencing_token::float8 as token from signalbox.leases order by slot');
  expect(await newest()).toEqual([
    { slot: 1, token: a },
    { slot: 2, token: b },
  ]);

  await queue.release('a', a);
  const [c = 0] = await queue.hold('c');
  expect(await newest()).toEqual([
    { slot: 1, token: c },
    { slot: 2, token: b },
  ]);
  expect((await queue.renew('b', b)).code).toBe('renewed');
});

test('no slot of any queue is granted a token it had before, whoever ended the grant', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q'], { concurrency_limit: 2 });
  const queue = onQueue(db, 'q');
  await queue.hold('a', 'b');
  await moveClock(db, 31_000);
  await queue.hold('c', 'd');
  await moveClock(db, 0);
  await queue.break('c');
  await queue.hold('e');
  expectGrowing(await grantedTokens(db), 5);
  const { repeated } = await oneOf<{ repeated: number }>(
    db,
    'select (count(*) - count(distinct fencing_token))::int as repeated from signalbox.history',
  );
  expect(repeated).toBe(0);
});
