import fc from 'fast-check';
import { expect, test } from 'vitest';
import { moveClock } from '../../support/database-clock.ts';
import { freshDatabase, type TestDatabase } from '../../support/database.ts';
import { acquireItem, clean, decide, makeQueues, onQueue, rowsOf } from '../../support/sql-verbs.ts';
import { expectSoundQueues } from '../../support/sound-queues.ts';

const claim = fc.integer({ min: 0, max: 19 }).map((number) => `claim ${number}`);
const run = fc.integer({ min: 0, max: 4 }).map((number) => `run ${number}`);
const outcome = fc.constantFrom(undefined, 'success', 'failure', 'cancelled', 'retry');
const step = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constant('acquire' as const),
      claim,
      weight: fc.constantFrom(1, 1, 2),
      listen_ms: fc.constantFrom(0, 3_600_000),
      ttl_ms: fc.constantFrom(1000, 120_000),
    }),
  },
  { weight: 5, arbitrary: fc.record({ do: fc.constant('release' as const), claim: fc.oneof(claim, run), outcome }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('run' as const), claim: run }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('clean' as const), max: fc.integer({ min: 1, max: 2 }) }) },
  // Of those that were given: also of ones that are over.
  {
    weight: 5,
    arbitrary: fc.record({ do: fc.constant('cleaned' as const), nth: fc.integer({ min: 1, max: 3 }), outcome }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constantFrom('cancel' as const, 'break' as const), claim }) },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant('break cleaning' as const), nth: fc.integer({ min: 1, max: 2 }) }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constant('clock' as const), by: fc.integer({ min: -5000, max: 40_000 }) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant('settings' as const),
      concurrency_limit: fc.constantFrom(1, 2, 3, 300),
      lock_delay_ms: fc.constantFrom(0, 0, 5000),
      // Mostly on: off, nothing is dirty.
      cleanup: fc.constantFrom(true, true, true, false),
    }),
  },
);
type Step = typeof step extends fc.Arbitrary<infer S> ? S : never;

async function play(db: TestDatabase, name: string, steps: readonly Step[], limit: number): Promise<void> {
  await makeQueues(db, [name]);
  const queue = onQueue(db, name);
  await queue.configure({ concurrency_limit: limit, cleanup: true, retry_delay_ms: 0, max_attempts: 100 });
  const cleanings: { readonly id: string; readonly token: number }[] = [];
  const tokens = async (claimId: string) =>
    Number(
      (
        await rowsOf<{ token: string }>(
          db,
          `select fencing_token as token from signalbox.leases where queue = $1 and claim_id = $2 and state = 'held'`,
          [name, claimId],
        )
      )[0]?.token ?? 1,
    );
  let clockMs = 0;
  for (const next of steps) {
    switch (next.do) {
      case 'acquire':
        await decide(db, [{ ...acquireItem(name, next.claim, next), weight: next.weight }]);
        break;
      case 'release':
        await queue.release(next.claim, await tokens(next.claim), {
          outcome: next.outcome,
          ...(next.outcome === 'retry' ? { retry_after_ms: 0 } : {}),
        });
        break;
      case 'run':
        await queue.enqueue(next.claim);
        await queue.take(1, { ttl_ms: 20_000 });
        break;
      case 'clean':
        for (const { claim_id: id, body } of (await clean(db, name, { max: next.max, ttl_ms: 10_000 })).claims)
          cleanings.push({ id: id ?? '', token: body.fencing_token });
        break;
      case 'cleaned': {
        const given = cleanings.at(-next.nth);
        if (given !== undefined) await queue.release(given.id, given.token, { outcome: next.outcome });
        break;
      }
      case 'cancel':
        await queue.cancel(next.claim);
        break;
      case 'break':
        await queue.break(next.claim);
        break;
      case 'break cleaning': {
        const given = cleanings.at(-next.nth);
        if (given !== undefined) await queue.break(given.id);
        break;
      }
      case 'clock':
        clockMs += next.by;
        await moveClock(db, clockMs);
        break;
      case 'settings': {
        const { concurrency_limit, lock_delay_ms, cleanup } = next;
        await queue.configure({ concurrency_limit, lock_delay_ms, cleanup });
        break;
      }
      default:
        next satisfies never;
    }
    await expectSoundQueues(db);
    await queue.advance();
    // Above the limit only by what was there before it was lowered: nothing was granted since.
    const over = await rowsOf(
      db,
      `select n.concurrency_limit, s.* from signalbox.lines n cross join lateral (
         select sum(l.weight) as taken, max(l.acquired_at) filter (where l.kind <> 'cleaning' and l.state = 'held') as newest
         from signalbox.leases l where l.queue = n.queue and (l.state = 'held' or l.free_after > signalbox.clock())) s
       where n.queue = $1 and s.taken > n.concurrency_limit
         and s.newest > (select max(e.at) from signalbox.events e where e.type = 'queue.changed')`,
      [name],
    );
    expect([next.do, over]).toEqual([next.do, []]);
    // Whoever is first in line does not stand before a place that is free and clean.
    const idle = await rowsOf(
      db,
      `select n.queue from signalbox.lines n cross join lateral (
         select coalesce(sum(l.weight), 0) as taken from signalbox.leases l
         where l.queue = n.queue and (l.state = 'held' or l.free_after > signalbox.clock())) s
       cross join lateral (
         select w.weight from signalbox.waiting w where w.queue = n.queue and w.kind = 'claim'
         order by w.place, w.seq, w.rank limit 1) w
       where n.queue = $1 and s.taken + least(w.weight, n.concurrency_limit) <= n.concurrency_limit`,
      [name],
    );
    expect([next.do, idle]).toEqual([next.do, []]);
  }
}

test.each([
  { width: 'narrow', limit: 2, seed: 1 },
  { width: 'wide', limit: 300, seed: 2 },
])(
  'random operations on a $width queue: a dirty slot is never granted before it is cleaned',
  async ({ limit, seed }) => {
    await using db = await freshDatabase();
    let count = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 40, maxLength: 60, size: 'max' }), async (steps) => {
        await moveClock(db, 0);
        await rowsOf(
          db,
          'truncate signalbox.waiting, signalbox.leases, signalbox.wide_slots, signalbox.heard, signalbox.runs',
        );
        await rowsOf(db, 'truncate signalbox.delayed, signalbox.taken, signalbox.ready_queues, signalbox.dead_letters');
        await rowsOf(db, 'truncate signalbox.lines, signalbox.queues, signalbox.history, signalbox.events');
        await play(db, `q${count++}`, steps, limit);
      }),
      { seed, numRuns: 3, endOnFailure: true, interruptAfterTimeLimit: 60_000 },
    );
  },
  120_000,
);
