import { expect, test } from 'vitest';
import { freshDatabase } from '../support/database.ts';
import { anId, held, waiting } from '../support/http-client.ts';
import { startReplica } from '../support/replica.ts';
import { until } from '../support/until.ts';
import { StallMeter } from '../support/stalls.ts';

// In the project pgbouncer `url` leads through a transaction pooler; in the others the test says nothing new.

test('a life of claims goes through the pooler: acquire, renew, hand-over to a long-poll, release, leader', async () => {
  await using database = await freshDatabase();
  const options = { databaseUrl: database.url, directUrl: database.directUrl };
  await using a = await startReplica(options);
  await using b = await startReplica(options);
  await until(async () => (await a.client.ready()).body.details?.notifications_work, { what: 'A hears' });
  const queue = anId('pooled');

  const first = await b.client.hold(queue);
  expect((await a.client.renew(first, { ttl_ms: 60_000 })).body.ttl_remaining_ms).toBeGreaterThan(50_000);
  const claim = { holder: 'next', claim_id: 'next' };
  expect(waiting(await a.client.acquire(queue, claim)).blocked_by).toMatchObject([{ claim_id: first.claim_id }]);
  const poll = a.client.acquire(queue, { ...claim, wait_ms: 30_000 });
  await until(
    async () =>
      (
        await database.query('select from signalbox.heard where queue = $1 and listens_until > clock_timestamp()', [
          queue,
        ])
      ).rowCount,
    { what: 'it listens' },
  );
  expect((await b.client.release(first)).body).toEqual({ released: true });
  const second = held(await poll);
  expect(second.fencing_token).toBeGreaterThan(first.fencing_token);
  expect((await b.client.release(first)).body).toMatchObject({ released: false, reason: 'released' });
  expect((await a.client.release(second)).body).toEqual({ released: true });

  const { body } = await until(
    async () => {
      const view = await a.client.orchestrator();
      return view.body.chores.some(({ chore }) => chore === 'lines') && view;
    },
    { what: 'the leader acts' },
  );
  expect([await a.id(), await b.id()]).toContain(body.leader);
  expect(body.chores.map(({ last_error: error }) => error)).not.toContainEqual(expect.any(String));
});

test('LISTEN through a pooler is found out, and waiting clients are woken all the same', async () => {
  await using database = await freshDatabase();
  // The mistake of setting DATABASE_DIRECT_URL to the pooler, or not setting it at all.
  await using a = await startReplica({ databaseUrl: database.url, directUrl: database.url });
  await using b = await startReplica({ databaseUrl: database.url, directUrl: database.directUrl });
  const queue = anId('pooled');
  const lease = await b.client.hold(queue);
  const poll = a.client.acquire(queue, { wait_ms: 30_000 });
  await until(async () => (await database.query('select from signalbox.waiting where queue = $1', [queue])).rowCount, {
    what: 'it waits',
  });
  await using stalls = new StallMeter(() => b.client.get(queue, lease.claim_id));
  const sentAt = performance.now();
  await b.client.release(lease);
  held(await poll);
  expect(performance.now() - sentAt).toBeLessThan(1500 + 3 * stalls.worstMs);
  if (database.url !== database.directUrl) await a.process.line(/LISTEN hears nothing/, { timeoutMs: 15_000 });
});
