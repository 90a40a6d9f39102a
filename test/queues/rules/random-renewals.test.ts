import fc from 'fast-check';
import { expect, test } from 'vitest';
import { freshDatabase, type TestDatabase } from '../../support/database.ts';
import { expectSoundQueues } from '../../support/sound-queues.ts';
import {
  type Answer,
  acquireItem,
  decide,
  makeQueues,
  onQueue,
  oneOf,
  renewItem,
  renewItems,
  rowsOf,
} from '../../support/sql-verbs.ts';
import { type Twins, expectSameState, openTwins, told } from './twins.ts';

const queue = fc.constantFrom('one', 'many', 'many', 'bounded', 'bounded', 'wide', 'nowhere');
const claim = fc.nat({ max: 4 });
const renewal = fc.record({
  queue,
  claim,
  // How many grants ago the claim got this token; more than it had: it never had it.
  age: fc.constantFrom(0, 0, 0, 0, 0, 0, 1, 9),
  ttl_ms: fc.constantFrom(undefined, undefined, 1000, 20_000, 60_000, 400_000),
  holder: fc.constantFrom(undefined, undefined, 'own', 'own', 'other'),
  shorten: fc.constantFrom(undefined, true, false),
});
const step = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constant('acquire' as const),
      claims: fc.array(fc.record({ queue, claim, ttl_ms: fc.constantFrom(5000, 30_000) }), {
        minLength: 1,
        maxLength: 10,
        size: 'max',
      }),
    }),
  },
  {
    weight: 8,
    arbitrary: fc.record({
      do: fc.constant('renew' as const),
      renewals: fc.array(renewal, { minLength: 1, maxLength: 14, size: 'max' }),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constantFrom('release' as const, 'cancel' as const, 'break' as const),
      queue,
      claim,
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({ do: fc.constant('clock' as const), by: fc.integer({ min: -3000, max: 20_000 }) }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('advance' as const) }) },
);
type Step = typeof step extends fc.Arbitrary<infer S> ? S : never;

async function makeAll(db: TestDatabase): Promise<void> {
  await makeQueues(db, ['one']);
  await makeQueues(db, ['many'], { concurrency_limit: 4, max_ttl_ms: 50_000 });
  await makeQueues(db, ['bounded'], { concurrency_limit: 3, max_hold_ms: 40_000 });
  await makeQueues(db, ['wide'], { concurrency_limit: null, max_ttl_ms: 50_000 });
}

/** One schedule in both databases; how often each code answered a renewal goes into `counts`. */
async function run(twins: Twins, steps: readonly Step[], counts: Map<string, number>): Promise<void> {
  const tokens = new Map<string, number[]>();
  const tokenOf = (of: { queue: string; claim: number }, age = 0) =>
    tokens.get(`${of.queue} claim ${of.claim}`)?.at(-1 - age) ?? 7;
  const same = async (work: (db: TestDatabase) => Promise<Answer[]>): Promise<Answer[]> => {
    const [usual, single] = await twins.both(work);
    expect(told(usual)).toEqual(told(single));
    for (const { code, queue: name, claim_id: id, body } of usual) {
      const known = tokens.get(`${name} ${id ?? ''}`) ?? [];
      if (code === 'held' && known.at(-1) !== body.fencing_token)
        tokens.set(`${name} ${id ?? ''}`, [...known, body.fencing_token]);
    }
    return usual;
  };
  let clockMs = 0;

  for (const next of steps) {
    switch (next.do) {
      case 'acquire':
        await same((db) =>
          decide(
            db,
            next.claims.map(({ queue: name, claim: id, ttl_ms }) => acquireItem(name, `claim ${id}`, { ttl_ms })),
          ),
        );
        break;
      case 'renew': {
        const items = next.renewals.map((wish) =>
          renewItem(wish.queue, `claim ${wish.claim}`, tokenOf(wish, wish.age), {
            ...wish,
            holder: wish.holder === 'own' ? `holder of claim ${wish.claim}` : wish.holder,
          }),
        );
        const answers = await same((db) => renewItems(db, items));
        expect(answers.map(({ item }) => item).toSorted((a, b) => (a ?? 0) - (b ?? 0))).toEqual([...items.keys()]);
        for (const { code } of answers) counts.set(code, (counts.get(code) ?? 0) + 1);
        break;
      }
      case 'release':
        await same(async (db) => [await onQueue(db, next.queue).release(`claim ${next.claim}`, tokenOf(next))]);
        break;
      case 'cancel':
        await same(async (db) => [await onQueue(db, next.queue).cancel(`claim ${next.claim}`)]);
        break;
      case 'break':
        await same(async (db) => [await onQueue(db, next.queue).break(`claim ${next.claim}`)]);
        break;
      case 'clock':
        clockMs += next.by;
        await twins.setClock(clockMs);
        break;
      case 'advance':
        await same((db) =>
          rowsOf<Answer>(db, 'select * from signalbox_v1.advance($1)', [['one', 'many', 'bounded', 'wide']]),
        );
        break;
      default:
        next satisfies never;
    }
    await expectSoundQueues(twins.usual);
    await expectSameState(twins);
  }
}

test('random renewals, set-wise or one by one, are answered and end alike', async () => {
  await using twins = await openTwins();
  const counts = new Map<string, number>();
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 20, maxLength: 40, size: 'max' }), async (steps) => {
      await twins.clear();
      await twins.setClock(0);
      await twins.both(makeAll);
      await run(twins, steps, counts);
    }),
    { seed: 5, numRuns: 25, endOnFailure: true, interruptAfterTimeLimit: 60_000 },
  );
  expect(counts.get('renewed')).toBeGreaterThan(200);
  expect([...counts.keys()]).toEqual(
    expect.arrayContaining([
      ...['renewed', 'ttl_too_long', 'lease_lost'],
      ...['token_mismatch', 'claim_not_found', 'queue_not_found'],
    ]),
  );
}, 180_000);

test('what fits is renewed set-wise, wide queues too; what does not, and a second item of one lease, is left', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['a', 'b', 'c', 'd']);
  await makeQueues(db, ['wide'], { concurrency_limit: null });
  const held = new Map<string, number>();
  for (const name of ['a', 'b', 'c', 'd', 'wide']) held.set(name, (await onQueue(db, name).hold('x'))[0] ?? 0);
  const item = (name: string, options = {}) => renewItem(name, 'x', held.get(name) ?? 0, options);
  const items = [
    item('wide'),
    item('c', { ttl_ms: 300_001 }),
    item('c', { ttl_ms: 300_001, shorten: true }),
    item('d', { holder: 'somebody else' }),
    { ...item('b'), fencing_token: 7 },
    item('b', { holder: 'holder of x' }),
    item('a', { ttl_ms: 50_000 }),
    item('a', { ttl_ms: 60_000 }),
    renewItem('nowhere', 'x', 7),
  ];

  expect(
    await rowsOf(db, 'select item from unnest(signalbox.renew_fitting($1)) order by item', [JSON.stringify(items)]),
  ).toEqual([0, 2, 5, 6].map((number) => ({ item: number })));
  expect(
    (await renewItems(db, items)).toSorted((a, b) => (a.item ?? 0) - (b.item ?? 0)).map(({ code }) => code),
  ).toEqual([
    ...['renewed', 'ttl_too_long', 'renewed', 'token_mismatch', 'token_mismatch'],
    ...['renewed', 'renewed', 'renewed', 'queue_not_found'],
  ]);
  expect(await oneOf(db, `select ttl_ms from signalbox.leases where queue = 'a'`)).toEqual({ ttl_ms: 60_000 });
});
