import { expect, test } from 'vitest';
import { moveClock } from '../../support/database-clock.ts';
import { freshDatabase } from '../../support/database.ts';
import { expectSoundQueues } from '../../support/sound-queues.ts';
import { makeQueues, onQueue, rowsOf } from '../../support/sql-verbs.ts';

const limits = { a: 2, b: 3, c: 300 } as const;
const names = Object.keys(limits) as (keyof typeof limits)[];

/** What must never be, whatever happened before: nothing above a limit, and a claim holds in all of its queues or in none. */
const overfull = `select n.queue, sum(l.weight) as places from signalbox.lines n join signalbox.leases l using (queue)
  where l.state = 'held' group by n.queue, n.concurrency_limit having sum(l.weight) > n.concurrency_limit`;

test.each([1, 2])(
  'random operations on several queues keep every invariant, and leave nothing behind (%i)',
  async (seed) => {
    await using db = await freshDatabase();
    await makeQueues(db, names, { reserve_max_ms: 2000 });
    for (const name of names) await onQueue(db, name).configure({ concurrency_limit: limits[name] });
    let state = seed;
    const random = (below: number) => {
      state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
      return (state >>> 8) % below;
    };
    let [clockMs, granted] = [0, 0];
    const one = async (where: string) => {
      const rows = await rowsOf<{ queue: string; claim_id: string; token: number }>(db, where);
      return rows[random(Math.max(1, rows.length))];
    };
    const held = `select queue, claim_id, fencing_token::float8 as token from signalbox.leases
    where state = 'held' and coalesce(joint ->> 'primary', queue) = queue order by queue, slot`;
    const waiting = `select queue, claim_id, 0 as token from signalbox.waiting
    where coalesce(joint ->> 'primary', queue) = queue order by queue, seq`;
    for (let step = 0; step < 150; step++) {
      const dice = random(20);
      if (dice < 8) {
        const order = names.toSorted(() => random(3) - 1);
        const [own = 'a', ...others] = order.slice(0, 1 + random(3));
        const also = others.map((queue) => ({ queue, weight: 1 + random(3) }));
        const options = { weight: 1 + random(2), listen_ms: random(3) === 0 ? 0 : 600_000 };
        await onQueue(db, own).acquire(`${step}`, also.length === 0 ? options : { ...options, also });
      } else if (dice < 13) {
        const lease = await one(held);
        const retry = { outcome: 'retry', retry_after_ms: random(2) * 1000 };
        if (lease !== undefined)
          await onQueue(db, lease.queue).release(lease.claim_id, lease.token, random(4) === 0 ? retry : {});
      } else if (dice < 15) {
        const lease = await one(held);
        if (lease !== undefined) await onQueue(db, lease.queue).renew(lease.claim_id, lease.token);
      } else if (dice < 17) {
        const claim = await one(random(2) === 0 ? held : waiting);
        const verb = random(2) === 0 ? 'cancel' : 'break';
        if (claim !== undefined) await onQueue(db, claim.queue)[verb](claim.claim_id);
      } else {
        clockMs += random(3) === 0 ? 11_000 : 1000;
        await moveClock(db, clockMs);
      }
      for (const name of names) await onQueue(db, name).advance();
      expect(await rowsOf(db, overfull)).toEqual([]);
      if (step % 10 === 9) await expectSoundQueues(db);
      granted += (await rowsOf(db, held)).length;
    }
    expect(granted).toBeGreaterThan(50);
    for (let rest = await one(held); rest !== undefined; rest = await one(held)) {
      await onQueue(db, rest.queue).release(rest.claim_id, rest.token);
      for (const name of names) await onQueue(db, name).advance();
    }
    for (let rest = await one(waiting); rest !== undefined; rest = await one(waiting))
      await onQueue(db, rest.queue).cancel(rest.claim_id);
    expect(await rowsOf(db, `select from signalbox.leases where state = 'held'`)).toEqual([]);
    expect(await rowsOf(db, 'select from signalbox.waiting')).toEqual([]);
    expect(await rowsOf(db, 'select from signalbox.loose_ends')).toEqual([]);
  },
);
