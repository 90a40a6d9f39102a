import { describe, expect, it } from 'vitest';
import { freshDatabase } from '../support/database.ts';
import { openDesk } from '../support/decision-desk.ts';
import { oneOf } from '../support/sql-verbs.ts';

const queuesOf = async (database: Parameters<typeof openDesk>[0]) =>
  Number((await oneOf<{ n: string }>(database, 'select count(*) as n from signalbox.queues')).n);

describe('an acquire of an unknown queue', () => {
  it('makes it, however many ask at once', async () => {
    await using database = await freshDatabase();
    await using desk = openDesk(database, { lineWaitMs: 5000 });
    const arrivals = await Promise.all(['a', 'b', 'c', 'd'].map((claimId) => desk.acquire('q', claimId)));
    expect(arrivals.map(({ decision }) => decision.code).sort()).toEqual(['held', 'waiting', 'waiting', 'waiting']);
    expect(await queuesOf(database)).toBe(1);
  });

  it('with a ttl that the new queue would refuse makes none', async () => {
    await using database = await freshDatabase();
    await using desk = openDesk(database, { lineWaitMs: 5000 });
    const { decision } = await desk.acquire('q', 'a', { ttl_ms: 300_001 });
    expect(decision).toMatchObject({ code: 'ttl_too_long', body: { max_ttl_ms: 300_000 } });
    expect(await queuesOf(database)).toBe(0);
    // The bound is the default of the column.
    expect((await desk.acquire('q', 'a', { ttl_ms: 300_000 })).decision.code).toBe('held');
  });

  it('by any other operation makes none', async () => {
    await using database = await freshDatabase();
    await using desk = openDesk(database, { lineWaitMs: 5000 });
    const { decision } = await desk.decide({ op: 'cancel', queue: 'q', claim_id: 'a' });
    expect(decision.code).toBe('queue_not_found');
    expect(await queuesOf(database)).toBe(0);
  });
});

describe('a line that somebody else has locked', () => {
  it('is waited for by its own operations only; those of other queues are decided meanwhile', async () => {
    await using database = await freshDatabase();
    await using desk = openDesk(database, { lineWaitMs: 10_000 });
    await desk.acquire('stuck', 'first');
    const other = await database.connect();
    await other.query('begin');
    await other.query(`select from signalbox.lines where queue = 'stuck' for update`);
    const stuck = desk.acquire('stuck', 'second');
    await desk.isBlocked();
    expect((await desk.acquire('free', 'a')).decision.code).toBe('held');
    await other.query('rollback');
    expect((await stuck).decision.code).toBe('waiting');
  });

  it('for longer than lineWaitMs is overloaded, and nothing was done', async () => {
    await using database = await freshDatabase();
    await using desk = openDesk(database, { lineWaitMs: 300 });
    await desk.acquire('stuck', 'first');
    const other = await database.connect();
    await other.query('begin');
    await other.query(`select from signalbox.lines where queue = 'stuck' for update`);
    await expect(desk.acquire('stuck', 'second')).rejects.toMatchObject({ code: 'overloaded' });
    await other.query('rollback');
    expect((await desk.decide({ op: 'cancel', queue: 'stuck', claim_id: 'second' })).decision.code).toBe(
      'claim_not_found',
    );
  });
});
