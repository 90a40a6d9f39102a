import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { freshDatabase, type TestDatabase } from '../support/database.ts';
import { anId } from '../support/http-client.ts';
import { rowsOf } from '../support/sql-verbs.ts';
import { startTestApp, type TestApp } from '../support/test-app.ts';

const smallQueues = 10_000;
const bigRuns = 100_000;
const workers = 20;
const perTake = 50;

interface Grant {
  readonly queue: string;
  readonly transaction: string;
}

describe('10,000 queues with one run each, and one queue without a limit with 100,000', () => {
  let database: TestDatabase;
  let app: TestApp;
  let grants: readonly Grant[];
  let takes = 0;

  beforeAll(async () => {
    database = await freshDatabase();
    app = await startTestApp(database);
    await app.client.ask('PUT', '/v1/queues/pool%2Fbig', { concurrency_limit: null, max_runs: null });
    // The big one first, so that all its runs are older than any of the others.
    await fill(
      database,
      'pool/big',
      Array.from({ length: bigRuns }, (_, n) => `big-${n}`),
    );
    await fillEach(
      database,
      Array.from({ length: smallQueues }, (_, n) => `pool/small-${n}`),
    );

    let smallLeft = smallQueues;
    const work = async () => {
      const holder = anId('worker');
      while (smallLeft > 0) {
        const { status, body } = await app.client.ask<{
          claims: { queue: string; claim_id: string; fencing_token: number }[];
        }>('POST', '/v1/take', { holder, prefix: 'pool/', max: perTake });
        if (status !== 200) throw new Error(JSON.stringify(body));
        takes++;
        if (body.claims.length === 0) return;
        smallLeft -= body.claims.filter(({ queue }) => queue !== 'pool/big').length;
        const claims = body.claims.map(({ queue, claim_id, fencing_token }) => ({ queue, claim_id, fencing_token }));
        await app.client.ask('POST', `/v1/holders/${encodeURIComponent(holder)}/release`, { claims });
      }
    };
    await Promise.all(Array.from({ length: workers }, work));
    grants = await rowsOf<Grant>(
      database,
      `select queue, xid::text as transaction from signalbox.events where type = 'lease.granted' order by id`,
    );
  }, 180_000);
  afterAll(async () => {
    await app[Symbol.asyncDispose]();
    await database[Symbol.asyncDispose]();
  });

  it('every small queue is served', () => {
    const served = new Set(grants.map(({ queue }) => queue));
    served.delete('pool/big');
    expect(served.size).toBe(smallQueues);
  });

  it('within one round: until the last of them the big one gets its share of a turn, not more', () => {
    const last = grants.findLastIndex(({ queue }) => queue !== 'pool/big');
    const big = grants.slice(0, last).filter(({ queue }) => queue === 'pool/big');
    // Its first turn comes when it is the oldest; after it, it stands behind all that were ready. The last takes of the
    // round find few small ones and give the big one what is left of theirs.
    const turns = new Set(big.map(({ transaction }) => transaction)).size;
    expect(turns).toBeLessThanOrEqual(1 + workers);
    expect(takes).toBeGreaterThanOrEqual(smallQueues / perTake);
  });
});

/** A line of runs, as 100 calls of a thousand would make it. */
async function fill(database: TestDatabase, queue: string, claimIds: readonly string[]): Promise<void> {
  for (let from = 0; from < claimIds.length; from += 5000) {
    const items = claimIds.slice(from, from + 5000).map((id) => ({ op: 'enqueue', queue, claim_id: id, fresh: true }));
    await database.query('select count(*) from signalbox_v1.decide($1, true)', [JSON.stringify(items)]);
  }
}

/** One run in each of these queues. */
async function fillEach(database: TestDatabase, queues: readonly string[]): Promise<void> {
  for (let from = 0; from < queues.length; from += 1000) {
    const some = queues.slice(from, from + 1000);
    await database.query('select signalbox_v1.ensure_queues($1)', [some]);
    const items = some.map((queue) => ({ op: 'enqueue', queue, claim_id: 'only', fresh: true }));
    await database.query('select count(*) from signalbox_v1.decide($1, true)', [JSON.stringify(items)]);
  }
}
