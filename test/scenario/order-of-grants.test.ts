import { expect, test } from 'vitest';
import { ageLine } from '../support/aged-line.ts';
import { freshDatabase, type TestDatabase } from '../support/database.ts';
import { serve } from '../support/served.ts';
import { acquireItem, decide, makeQueues, oneOf, onQueue } from '../support/sql-verbs.ts';

// Runs are put into their line a hundred at a time: of so many grants most are theirs, so that it takes seconds.
test.each([
  { kind: 'run', grants: 85_000, seed: 2 },
  { kind: 'claim', grants: 15_000, seed: 3 },
] as const)(
  'ageing: in $grants random grants no $kind is passed over longer than the stated bound',
  async ({ kind, grants, seed }) => {
    await using db = await freshDatabase();
    const aged = await ageLine(await db.connect(), { kind, grants, headStartMs: 1000, limit: 100, seed });
    expect(aged.beyond).toEqual([]);
    expect(aged.grants).toBe(grants);
    expect(aged.passes).toBeGreaterThan(grants / 20);
    expect(aged.furthestMs).toBeGreaterThan(950);
    expect(aged.furthestMs).toBeLessThanOrEqual(1000);
  },
  400_000,
);

const ask = (db: TestDatabase, tenant: string, from: number, count: number) =>
  decide(
    db,
    Array.from({ length: count }, (_, index) =>
      acquireItem('q', `${tenant} ${from + index}`, { labels: { tenant }, priority: 0 }),
    ),
  );

test.each([1, 5])(
  'rotation: a tenant with 10,000 claims in line delays the single claim of another by one service time of a slot: limit %i',
  async (limit) => {
    await using db = await freshDatabase();
    await makeQueues(db, ['q'], { rotate_by: 'tenant', concurrency_limit: limit, max_waiting: null });
    await ask(db, 'busy', 0, limit);
    for (let from = limit; from < 10_000 + limit; from += 100) await ask(db, 'busy', from, 100);
    expect(await onQueue(db, 'q').line()).toHaveLength(10_000);
    for (const tenant of ['one', 'two', 'three']) {
      await ask(db, tenant, 0, 1);
      expect(await serve(db, 'q', 1)).toEqual([`${tenant} 0`]);
    }
    // One that has just had its turn: after one of the other's.
    await ask(db, 'one', 1, 1);
    expect(await serve(db, 'q', 2)).toEqual([`busy ${limit}`, 'one 1']);
  },
  120_000,
);

test.each([
  { who: 'ever new tenants', priority: 0, atMost: 1000 },
  { who: 'those with a unit of priority more', priority: 1, atMost: 2000 },
])(
  'rotation: $who pass an old one that waits for its next turn at most $atMost times',
  async ({ priority, atMost }) => {
    await using db = await freshDatabase();
    await makeQueues(db, ['q'], { rotate_by: 'tenant' });
    await ask(db, 'old', 0, 2);
    await letNewTenantsCome(db);
    const { passed } = await oneOf<{ passed: number }>(db, `call public.pass('old 1', $1, null)`, [priority]);
    expect(passed).toBeLessThanOrEqual(atMost);
    expect(passed).toBeGreaterThan(atMost - 10);
  },
  120_000,
);

/** public.pass: a new tenant comes, and somebody gets a place, until this claim does; how many did before it. */
async function letNewTenantsCome(db: TestDatabase): Promise<void> {
  await db.query(`create procedure public.pass(p_claim text, p_priority integer, inout passed integer) language plpgsql as $$
    declare
      v_held signalbox.leases;
    begin
      passed := 0;
      loop
        perform signalbox_v1.decide(jsonb_build_array(jsonb_build_object('op', 'acquire', 'queue', 'q', 'claim_id',
          'new ' || passed, 'holder', 'h', 'priority', p_priority, 'labels', jsonb_build_object('tenant', 'new ' || passed))));
        commit;
        select * into v_held from signalbox.leases l where l.queue = 'q' and l.state = 'held';
        perform signalbox_v1.decide(jsonb_build_array(jsonb_build_object('op', 'release', 'queue', 'q',
          'claim_id', v_held.claim_id, 'fencing_token', v_held.fencing_token)));
        commit;
        exit when passed > 5000
          or (select l.claim_id from signalbox.leases l where l.queue = 'q' and l.state = 'held') = p_claim;
        passed := passed + 1;
      end loop;
    end $$`);
}
