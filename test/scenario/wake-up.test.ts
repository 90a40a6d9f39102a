import { describe, expect, test } from 'vitest';
import { freshDatabase, type TestDatabase } from '../support/database.ts';
import { anId, held, type TestClient } from '../support/http-client.ts';
import { startReplica } from '../support/replica.ts';
import { TcpProxy } from '../support/tcp-proxy.ts';
import { until } from '../support/until.ts';

/** ms from sending a release at one replica to the answer of the long-poll at the other, `rounds` times, sorted. */
async function handOvers(database: TestDatabase, a: TestClient, b: TestClient, rounds: number): Promise<number[]> {
  const queue = anId('relay');
  const took: number[] = [];
  let lease = await b.hold(queue, { ttl_ms: 300_000 });
  for (let round = 0; round < rounds; round++) {
    const answer = a.acquire(queue, { wait_ms: 30_000, ttl_ms: 300_000 });
    await until(
      async () => (await database.query('select from signalbox.waiting where queue = $1', [queue])).rowCount,
      { what: 'the claim waits' },
    );
    const sentAt = performance.now();
    const released = b.release(lease);
    lease = held(await answer);
    took.push(performance.now() - sentAt);
    expect((await released).body).toEqual({ released: true });
  }
  return took.sort((x, y) => x - y);
}

describe('a claim that waits on one replica while another releases', () => {
  test('is woken by notification, far below the 500 ms of the watch', async () => {
    await using database = await freshDatabase();
    const options = { databaseUrl: database.url, directUrl: database.directUrl };
    await using a = await startReplica(options);
    await using b = await startReplica(options);
    await until(async () => (await a.client.ready()).body.details?.notifications_work, { what: 'A hears' });

    const took = await handOvers(database, a.client, b.client, 20);
    process.stdout.write(`by notification, ms: median ${took[10]?.toFixed(1)}, most ${took.at(-1)?.toFixed(1)}\n`);
    expect(took[10]).toBeLessThan(150);
  });

  test('gets its slot within about a second where notifications get lost on their way', async () => {
    await using database = await freshDatabase();
    await using proxy = await TcpProxy.to(database.directUrl);
    await using a = await startReplica({ databaseUrl: database.url, directUrl: proxy.through(database.directUrl) });
    await using b = await startReplica({ databaseUrl: database.url, directUrl: database.directUrl });
    await until(async () => (await a.client.ready()).body.details?.notifications_work, { what: 'A hears' });
    // The connection stays open and brings nothing any more.
    proxy.freeze();

    const took = await handOvers(database, a.client, b.client, 10);
    process.stdout.write(`by the watch, ms: median ${took[5]?.toFixed(0)}, most ${took.at(-1)?.toFixed(0)}\n`);
    expect(took[5]).toBeGreaterThan(20);
    expect(took.at(-1)).toBeLessThan(1500);
    await until(async () => (await a.client.ready()).body.details?.notifications_work === false, {
      what: 'A knows that it hears nothing',
      timeoutMs: 20_000,
    });
  });
});
