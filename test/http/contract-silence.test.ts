import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { freshDatabase, type TestDatabase } from '../support/database.ts';
import { anId, type TestClient } from '../support/http-client.ts';
import { lineUp, startTestApp, type TestApp } from '../support/test-app.ts';
import { until } from '../support/until.ts';

let database: TestDatabase;
let replica: TestApp;
let client: TestClient;
beforeAll(async () => {
  database = await freshDatabase();
  replica = await startTestApp(database);
  client = replica.client;
});
afterAll(async () => {
  await replica[Symbol.asyncDispose]();
  await database[Symbol.asyncDispose]();
});

const counts = async (queue: string) => {
  const { held, waiting } = (await client.queue(queue)).body;
  return `${held} held, ${waiting} waiting`;
};

// They wait for seconds, each for something of its own queue.
describe.concurrent('a waiting claim', () => {
  it('whose client is silent for waiting_ttl_ms ends as expired; one that waits in an open request does not', async () => {
    const queue = anId('q');
    await client.put(queue, { waiting_ttl_ms: 1000 });
    await client.hold(queue, { ttl_ms: 60_000 });
    await lineUp(client, queue, 'silent');
    const open = client.acquire(queue, { claim_id: 'open', wait_ms: 4000 });
    await until(async () => (await client.queue(queue)).body.line[0]?.claim_id === 'open', {
      what: 'the silent claim is gone',
    });
    expect(await client.get(queue, 'silent')).toMatchObject({ body: { state: 'expired', reason: 'waiting_ttl' } });
    expect(await open).toMatchObject({ status: 202, body: { state: 'waiting', position: 1 } });
  });

  it('is told to poll well within waiting_ttl_ms, however short that is', async () => {
    const queue = anId('q');
    await client.put(queue, { waiting_ttl_ms: 1000 });
    await client.hold(queue, { ttl_ms: 60_000 });
    const asked = await client.acquire(queue, { claim_id: 'a', holder: 'me' });
    expect((asked.body as { poll_after_ms: number }).poll_after_ms).toBeLessThan(1000);
  });
});

describe.concurrent('an offer that nobody hears', () => {
  it('puts the claim back once at its old place; the second one ends it as expired', async () => {
    const queue = anId('q');
    const first = await client.hold(queue);
    // Offers as short as the lease: a second each.
    await client.acquire(queue, { claim_id: 'silent', ttl_ms: 1000 });
    await client.release(first);
    expect(await counts(queue)).toBe('1 held, 0 waiting');
    await until(async () => (await counts(queue)) === '0 held, 0 waiting', {
      what: 'both offers have lapsed',
      timeoutMs: 25_000,
    });
    expect(await client.get(queue, 'silent')).toMatchObject({ body: { state: 'expired', reason: 'expired' } });
    const { rows } = await database.query<{ state: string; final: boolean }>(
      `select state, final from signalbox_v1.ended_claims where queue = $1 and claim_id = 'silent' order by ended_at`,
      [queue],
    );
    expect(rows).toEqual([
      { state: 'waiting', final: false },
      { state: 'expired', final: true },
    ]);
  });
});
