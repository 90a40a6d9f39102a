import { expect, test } from 'vitest';
import { freshDatabase } from '../support/database.ts';
import { anId, type Problem } from '../support/http-client.ts';
import { startReplica } from '../support/replica.ts';
import { until } from '../support/until.ts';

const delayMs = 2000;

test('a stopping replica is red at once, serves on for SHUTDOWN_DELAY_MS, then answers who waits and ends with 0', async () => {
  await using database = await freshDatabase();
  const env = { SHUTDOWN_DELAY_MS: `${delayMs}` };
  await using replica = await startReplica({ databaseUrl: database.url, directUrl: database.directUrl, env });
  const { client } = replica;
  const [queue, other] = [anId('line'), anId('other')];
  const lease = await client.hold(queue);
  const poll = client.acquire(queue, { claim_id: 'waits', wait_ms: 60_000 });
  await until(async () => (await client.queue(queue)).body.waiting === 1, { what: 'it waits' });

  const stoppedAt = performance.now();
  const exit = replica.terminate();
  const red = await until(
    async () => {
      const ready = await client.ready();
      return ready.status === 503 && ready.body;
    },
    { what: '/readyz is red' },
  );
  expect((red as Problem).code).toBe('shutting_down');
  expect((await client.alive()).status).toBe(200);
  // On a connection of its own, as one would have that the balancer makes before it has noticed.
  const reply = await fetch(`${replica.url}/v1/queues/${other}/acquire`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', connection: 'close' },
    body: JSON.stringify({ holder: 'late' }),
  });
  expect(reply.status).toBe(200);
  expect((await client.renew(lease)).status).toBe(200);

  expect([202, 503]).toContain((await poll).status);
  expect(performance.now() - stoppedAt).toBeGreaterThanOrEqual(delayMs);
  expect(await exit).toBe(0);
});
