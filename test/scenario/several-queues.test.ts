import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import type { HeldClaim } from '../../src/protocol/claims.ts';
import { freshDatabase } from '../support/database.ts';
import { expectSoundQueues } from '../support/sound-queues.ts';
import { anId, TestClient } from '../support/http-client.ts';
import { startReplica } from '../support/replica.ts';
import { until } from '../support/until.ts';

const limits = [1, 2, 3, 1, 2, 4];
const [claims, clients] = [1000, 32];

/** Numbers that are the same in every run. */
function dice(seed: number) {
  let state = seed;
  return (below: number) => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    return (state >>> 8) % below;
  };
}

test(
  '1,000 random claims on 1-3 of 6 queues by 32 clients through two replicas: never above a limit, none left behind',
  { timeout: 120_000 },
  async () => {
    await using database = await freshDatabase();
    const env = { LOG_LEVEL: 'warn' };
    await using a = await startReplica({ databaseUrl: database.url, directUrl: database.directUrl, env });
    await using b = await startReplica({ databaseUrl: database.url, directUrl: database.directUrl, env });
    const queues = limits.map((_, index) => anId(`q${index}`));
    for (const [index, queue] of queues.entries())
      await a.client.put(queue, { concurrency_limit: limits[index] ?? 1, reserve_max_ms: 200 });
    const replicas = [new TestClient(a.url), new TestClient(b.url)];
    const random = dice(7);
    const wanted = Array.from({ length: claims }, (_, index) => {
      const chosen = queues
        .map((queue) => ({ queue, at: random(1000) }))
        .toSorted((x, y) => x.at - y.at)
        .slice(0, 1 + random(3))
        .map(({ queue }) => ({ queue, weight: 1 + random(2) }));
      return { claim_id: `claim-${index}`, chosen, holdMs: random(6) };
    });
    const unexpected: string[] = [];
    const waits: number[] = [];
    let next = 0;
    const startedAt = performance.now();

    const client = async (number: number) => {
      for (let one = wanted[next++]; one !== undefined; one = wanted[next++]) {
        const [primary = { queue: '', weight: 1 }, ...also] = one.chosen;
        const askedAt = performance.now();
        for (let asked = 0; ; asked++) {
          const replica = replicas[(number + asked) % 2] ?? new TestClient('');
          const reply = await replica.acquire(primary.queue, {
            claim_id: one.claim_id,
            holder: `client-${number}`,
            weight: primary.weight,
            also,
            wait_ms: 5000,
          });
          if (reply.status === 202) continue;
          if (reply.status !== 200) {
            unexpected.push(`acquire: ${JSON.stringify(reply.body)}`);
            break;
          }
          waits.push(performance.now() - askedAt);
          const lease = reply.body as HeldClaim;
          if ((lease.also ?? []).length !== also.length) unexpected.push(`places: ${JSON.stringify(lease)}`);
          await sleep(one.holdMs);
          const released = await replica.release(lease);
          if (released.body.released !== true) unexpected.push(`release: ${JSON.stringify(released.body)}`);
          break;
        }
      }
    };
    await Promise.all(Array.from({ length: clients }, (_, number) => client(number)));

    const longest = Math.round(Math.max(...waits));
    process.stdout.write(`${Math.round(performance.now() - startedAt)} ms, longest wait ${longest} ms\n`);
    expect(unexpected.slice(0, 5)).toEqual([]);
    expect(waits).toHaveLength(claims);
    expect(longest).toBeLessThan(30_000);
    // Places of claims that are over go within moments, also where a line was busy.
    await until(
      async () =>
        (await database.query(`select from signalbox.leases where state = 'held'`)).rowCount === 0 &&
        (await database.query('select from signalbox.loose_ends')).rowCount === 0,
      { what: 'everything is given back' },
    );
    await expectSoundQueues(await database.connect());
    const { rows: most } = await database.query<{ queue: string; most: number }>(
      `with wanted as (
         select w.value ->> 'claim_id' as claim_id, c.value ->> 'queue' as queue, n.concurrency_limit,
           least((c.value ->> 'weight')::integer, n.concurrency_limit) as weight
         from jsonb_array_elements($1::jsonb) w(value) cross join lateral jsonb_array_elements(w.value -> 'chosen') c(value)
         join signalbox.lines n on n.queue = c.value ->> 'queue'),
       changes as (
         select e.queue, e.id, case e.type when 'lease.granted' then w.weight else -w.weight end as change
         from signalbox.events e join wanted w using (queue, claim_id)
         where e.type in ('lease.granted', 'lease.released')),
       sums as (select queue, sum(change) over (partition by queue order by id) as places from changes)
       select queue, max(places)::integer as most, min(places)::integer as least from sums group by queue`,
      [JSON.stringify(wanted)],
    );
    expect(most.map(({ queue, most: places }) => [queue, places]).toSorted()).toEqual(
      queues.map((queue, index) => [queue, limits[index]]).toSorted(),
    );
    // All or none: as many grants as places were asked for, no more.
    const { rows: grants } = await database.query<{ grants: number }>(
      `select count(*)::integer as grants from signalbox.events where type = 'lease.granted'`,
    );
    expect(grants[0]?.grants).toBe(wanted.reduce((sum, { chosen }) => sum + chosen.length, 0));
  },
);
