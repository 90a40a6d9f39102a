import { describe, expect, it } from 'vitest';
import type { TestDatabase } from '../support/database.ts';
import { anId, type TestClient } from '../support/http-client.ts';
import { oneReplica } from '../support/one-replica.ts';
import { shapeOf, startTestApp, type TestApp } from '../support/test-app.ts';
import { until } from '../support/until.ts';

let database: TestDatabase;
let client: TestClient;
let replica: TestApp;
oneReplica((parts) => ({ database, client, replica } = parts));

/** The value of one line of /metrics; 0 if it is not there. */
async function metric({ url }: TestApp, name: string): Promise<number> {
  const lines = (await (await fetch(`${url}/metrics`)).text()).split('\n');
  return Number(lines.find((line) => line.startsWith(`${name} `))?.slice(name.length + 1) ?? 0);
}

describe('who watches a run by GET with wait_ms', () => {
  it.each(['on this replica', 'on another one'])(
    'is answered when it is taken %s: held, without what it carries',
    async (where) => {
      await using other = await startTestApp(database);
      const queue = anId('q');
      await client.enqueue(queue, { claim_id: 'a', payload: { secret: 1 }, max_attempts: 7 });
      const watched = client.get(queue, 'a', { waitMs: 30_000 });
      await until(async () => (await metric(replica, 'signalbox_waiting_clients')) === 1, { what: 'it is watched' });
      const taker = where === 'on this replica' ? client : other.client;
      const taken = await taker.takeOne({ queue });
      const seen = await watched;
      expect(seen).toMatchObject({
        status: 200,
        body: { claim_id: 'a', kind: 'run', state: 'held', attempt: 1, fencing_token: taken.fencing_token },
      });
      expect(seen.body).not.toHaveProperty('payload');
      expect(seen.body).not.toHaveProperty('max_attempts');
      expect(shapeOf(seen.body)).toEqual(shapeOf((await client.get(queue, 'a')).body));
      expect(taken).toMatchObject({ payload: { secret: 1 }, max_attempts: 7 });
    },
  );
});

describe('signalbox_dead_letters_total', () => {
  const deaths = async () => ({
    max_attempts: await metric(replica, 'signalbox_dead_letters_total{reason="max_attempts"}'),
    failure: await metric(replica, 'signalbox_dead_letters_total{reason="failure"}'),
  });

  it('counts runs that die of their last attempt or of a failure, and nothing else', async () => {
    const queue = anId('q');
    await client.put(queue, { concurrency_limit: 10 });
    const take = async (max_attempts: number) => {
      await client.enqueue(queue, { max_attempts });
      return client.takeOne({ queue, holder: 'worker' });
    };
    const before = await deaths();
    await client.release(await take(1), { outcome: 'success' });
    await client.release(await take(2), { outcome: 'retry', retry_after_ms: 60_000 });
    await client.release(await client.hold(queue), { outcome: 'failure' });
    expect(await deaths()).toEqual(before);

    await client.release(await take(1), { outcome: 'retry' });
    await client.releaseHeld('worker', [{ ...(await take(1)), outcome: 'retry' }]);
    expect(await deaths()).toEqual({ ...before, max_attempts: before.max_attempts + 2 });

    const failed = await take(3);
    await client.release(failed, { outcome: 'failure' });
    await client.releaseHeld('worker', [{ ...(await take(3)), outcome: 'failure' }]);
    // A repeated release is success, and no second death.
    await client.release(failed, { outcome: 'failure' });
    expect(await deaths()).toEqual({ failure: before.failure + 2, max_attempts: before.max_attempts + 2 });
    expect((await client.queue(queue)).body.dead_letters).toBe(4);
  });
});
