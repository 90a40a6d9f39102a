import fc from 'fast-check';
import { expect, test } from 'vitest';
import { stopClockAt } from '../../support/database-clock.ts';
import { freshDatabase, type TestDatabase } from '../../support/database.ts';
import { makeQueues, onQueue, rowsOf } from '../../support/sql-verbs.ts';
import { modelTtlMs, QueueModel } from './queue-model.ts';

const step = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant('acquire' as const),
      priority: fc.integer({ min: -1, max: 1 }),
      weight: fc.constantFrom(1, 1, 1, 2, 5),
    }),
  },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('release' as const), which: fc.nat(5) }) },
  {
    weight: 3,
    arbitrary: fc.record({ do: fc.constant('clock' as const), byMs: fc.constantFrom(1, 700, 20_000, 50_000, 130_000) }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('limit' as const), limit: fc.integer({ min: 0, max: 4 }) }) },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant('settings' as const),
      paused: fc.boolean(),
      lockDelayMs: fc.constantFrom(0, 30_000),
    }),
  },
);
type Step = typeof step extends fc.Arbitrary<infer S> ? S : never;

async function play(db: TestDatabase, name: string, steps: readonly Step[]): Promise<void> {
  const startMs = Date.parse('2026-11-21T12:00:00Z');
  const model = new QueueModel(startMs);
  await stopClockAt(db, startMs);
  await makeQueues(db, [name], {});
  const queue = onQueue(db, name);
  const tokens = new Map<string, number>();
  let made = 0;
  for (const next of steps) {
    switch (next.do) {
      case 'acquire': {
        const claimId = `c${made++}`;
        model.acquire(claimId, `holder of ${claimId}`, next.priority, next.weight);
        await queue.acquire(claimId, {
          priority: next.priority,
          weight: next.weight,
          ttl_ms: modelTtlMs,
          listen_ms: 86_000_000,
        });
        break;
      }
      case 'release': {
        const claimId = model.heldClaims[next.which];
        if (claimId === undefined) break;
        model.release(claimId);
        await queue.release(claimId, tokens.get(claimId) ?? 0);
        break;
      }
      case 'clock':
        model.nowMs += next.byMs;
        await stopClockAt(db, model.nowMs);
        break;
      case 'limit':
        model.limit = next.limit;
        await queue.configure({ concurrency_limit: next.limit });
        break;
      case 'settings':
        model.paused = next.paused;
        model.lockDelayMs = next.lockDelayMs;
        await queue.configure({ paused: next.paused, lock_delay_ms: next.lockDelayMs });
        break;
      default:
        next satisfies never;
    }
    model.advance();
    await queue.advance();
    for (const lease of await rowsOf<{ claim_id: string; fencing_token: string }>(
      db,
      `select claim_id, fencing_token from signalbox.leases where queue = $1 and state = 'held'`,
      [name],
    ))
      tokens.set(lease.claim_id, Number(lease.fencing_token));
    const expected = model.explanations();
    const looks = await queue.lookAll(expected.map(({ claim_id: claimId }) => claimId));
    expect([next, looks.map(({ body }) => body)]).toEqual([
      next,
      expected.map((one) => expect.objectContaining(one) as unknown),
    ]);
    // The same in the view, sentence included.
    const view = await rowsOf(
      db,
      `select claim_id, position::int, ahead::int, waiting_for, estimated_wait_ms::int, why
       from signalbox_v1.line where queue = $1 order by position`,
      [name],
    );
    expect(view).toEqual(
      looks.map(({ body: { claim_id, position, ahead, waiting_for, estimated_wait_ms, why } }) => ({
        claim_id,
        position,
        ahead,
        waiting_for,
        estimated_wait_ms,
        why,
      })),
    );
  }
}

test('every waiting claim is explained as a small model of its queue explains it', { timeout: 60_000 }, async () => {
  await using db = await freshDatabase();
  let run = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 30 }), (steps) => play(db, `q${run++}`, steps)),
    { numRuns: 25, endOnFailure: true },
  );
});
