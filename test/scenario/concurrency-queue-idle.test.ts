import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { SignalboxClient } from '../../src/client/index.ts';
import { findViolations, type Grant, readGrants, type SeenGrant } from '../support/admission-history.ts';
import { freshDatabase } from '../support/database.ts';
import { anId } from '../support/http-client.ts';
import { startReplica } from '../support/replica.ts';
import { until } from '../support/until.ts';

const limit = 200;
const line = 2800;
/** Long beside a hand-over, as builds are; short enough for a test. */
const hold = { leastMs: 1000, mostMs: 1600 };

/** Slot time, in microseconds, in which places were free from the first end on, until the last one of the line was granted. */
function idleTime(grants: readonly Grant[]): { readonly idleUs: number; readonly allUs: number } {
  const from = Math.min(...grants.map(({ endedAt }) => endedAt ?? Infinity));
  const to = Math.max(...grants.map(({ acquiredAt }) => acquiredAt));
  const used = grants.map(({ acquiredAt, endedAt }) => Math.min(endedAt ?? to, to) - Math.max(acquiredAt, from));
  const allUs = limit * (to - from);
  return { allUs, idleUs: allUs - used.reduce((sum, us) => sum + Math.max(0, us), 0) };
}

test(
  `limit ${limit}, a line of ${line}: by the database's times at most 1 % of the slot time is idle while anybody waits`,
  { timeout: 180_000 },
  async () => {
    await using database = await freshDatabase();
    await using replica = await startReplica({
      databaseUrl: database.url,
      directUrl: database.directUrl,
      env: { LOG_LEVEL: 'warn' },
    });
    const { client } = replica;
    const queue = anId('idle');
    await client.put(queue, { concurrency_limit: limit });
    const seen: SeenGrant[] = [];
    const allInLine = Promise.withResolvers<undefined>();

    // It repeats what a busy machine does not answer; the same claim is the same place in line.
    const patient = new SignalboxClient({ url: replica.url, timeoutMs: 30_000, retry: { attempts: 20 } });
    const life = async (n: number) => {
      const wish = { claim_id: `run-${n}`, holder: `pod-${n}`, wait_ms: 60_000, ttl_ms: 120_000 };
      let lease = await patient.acquire(queue, wish);
      while (lease.state !== 'held') lease = await patient.acquire(queue, wish);
      seen.push({ claimId: lease.claim_id, token: lease.fencing_token });
      await allInLine.promise;
      // Any time between the bounds, in no order, the same in every run; of the first ones it is what is left of it.
      const part = ((n * 7919) % 1000) / 1000;
      await sleep(n < limit ? hold.mostMs * part : hold.leastMs + (hold.mostMs - hold.leastMs) * part);
      await patient.release(lease);
    };
    const lives = Array.from({ length: limit + line }, (_, n) => life(n));
    const all = Promise.all(lives);
    const isThere = async () => (await client.queue(queue)).body.waiting === line;
    await Promise.race([until(isThere, { what: 'the line is there', timeoutMs: 90_000 }), all]);
    allInLine.resolve(undefined);
    await all;

    const grants = await readGrants(database, queue);
    expect(grants).toHaveLength(limit + line);
    expect(findViolations(grants, { limit, seen })).toEqual([]);
    const { idleUs, allUs } = idleTime(grants);
    const percent = ((idleUs / allUs) * 100).toFixed(3);
    process.stdout.write(`${percent} % of ${Math.round(allUs / 1_000_000)} s of slot time idle\n`);
    expect(idleUs).toBeGreaterThan(0);
    expect(idleUs).toBeLessThanOrEqual(0.01 * allUs);
  },
);
