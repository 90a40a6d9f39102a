import { expect, inject, test } from 'vitest';
import { findViolations, mostAtOnce, readGrants } from '../support/admission-history.ts';
import { runLoad } from '../support/admission-load.ts';
import { freshDatabase } from '../support/database.ts';
import { anId } from '../support/http-client.ts';
import { startReplica } from '../support/replica.ts';

const env = { LOG_LEVEL: 'warn' };
const attempts = inject('isRepeat') ? 1500 : 10_000;

test.each([1, 5, 50])(
  `${attempts} attempts of 64 clients through two replicas never hold more than limit %i`,
  { timeout: 180_000 },
  async (limit) => {
    await using database = await freshDatabase();
    await using a = await startReplica({ databaseUrl: database.url, directUrl: database.directUrl, env });
    await using b = await startReplica({ databaseUrl: database.url, directUrl: database.directUrl, env });
    const queue = anId('load');
    await a.client.put(queue, { concurrency_limit: limit });

    const load = await runLoad({
      urls: [a.url, b.url],
      queue,
      clients: 64,
      attempts,
      abandonEvery: Math.ceil(attempts / (4 * limit)),
    });

    const rate = Math.round((load.requests / load.durationMs) * 1000);
    process.stdout.write(
      `limit ${limit}: ${Math.round(load.durationMs)} ms, ${rate} requests/s, ${load.granted} grants, ${load.busy} busy\n`,
    );
    expect(load.unexpected.slice(0, 5)).toEqual([]);
    expect(load.granted + load.busy).toBe(attempts);
    expect(load.abandoned).toBeGreaterThan(0);
    const grants = await readGrants(database, queue);
    expect(grants.length).toBeGreaterThanOrEqual(load.granted);
    expect(findViolations(grants, { limit, seen: load.seen })).toEqual([]);
    expect(mostAtOnce(load.beliefs)).toBeLessThanOrEqual(limit);
    const { rows } = await database.query(
      `select (select count(*)::int from signalbox.waiting) as waiting, n.waiting as counted
       from signalbox.lines n where n.queue = $1`,
      [queue],
    );
    expect(rows).toEqual([{ waiting: 0, counted: 0 }]);
  },
);
