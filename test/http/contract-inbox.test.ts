import { describe, expect, it } from 'vitest';
import type { TestDatabase } from '../support/database.ts';
import { anId, type TestClient } from '../support/http-client.ts';
import { oneReplica } from '../support/one-replica.ts';
import { shapeOf } from '../support/test-app.ts';

let database: TestDatabase;
let client: TestClient;
oneReplica((parts) => ({ database, client } = parts));

const payload = { text: 'ü\n', list: [1, null, { deep: true }] };

describe('an enqueue behind a large one from SQL', () => {
  it('is taken after all of that, shown by GET meanwhile, known to a second one, and keeps its payload', async () => {
    const queue = anId('q');
    await client.put(queue, { concurrency_limit: 1 });
    const ids = Array.from({ length: 500 }, (_, index) => `run-${index}`);
    await database.query(
      `select signalbox_v1.enqueue($1, id) from unnest($2::text[]) with ordinality u(id, n) order by n`,
      [queue, ids],
    );
    const made = await client.enqueue(queue, { claim_id: 'last', payload, max_attempts: 3, labels: { k: 'v' } });
    expect(made).toMatchObject({
      status: 201,
      body: { claim_id: 'last', kind: 'run', state: 'waiting', attempts: 0, max_attempts: 3, labels: { k: 'v' } },
    });
    expect(shapeOf(made.body)).toEqual(shapeOf((await client.enqueue(anId('q'))).body));
    expect(await client.get(queue, 'last')).toMatchObject({
      status: 200,
      body: { claim_id: 'last', kind: 'run', state: 'waiting', attempt: 0, labels: { k: 'v' } },
    });
    expect(await client.enqueue(queue, { claim_id: 'last', payload: 'another' })).toMatchObject({
      status: 200,
      body: { claim_id: 'last', kind: 'run', state: 'waiting' },
    });
    expect(await client.acquire(queue, { claim_id: 'last' })).toMatchObject({
      status: 409,
      body: { code: 'claim_id_reused' },
    });

    const first = await client.takeOne({ queue });
    expect(first).toMatchObject({ claim_id: 'run-0', payload: null });
    await client.release(first, { outcome: 'success' });
    // The rest at once, for the sake of time.
    await client.put(queue, { concurrency_limit: null });
    const { claims = [] } = (await client.take({ queue, max: 1000 })).body;
    expect(claims.map(({ claim_id: id }) => id)).toEqual([...ids.slice(1), 'last']);
    expect(claims.at(-1)).toMatchObject({ payload, max_attempts: 3, attempt: 1 });
  });

  it('keeps its payload byte for byte', async () => {
    const queue = anId('q');
    await client.put(queue, { concurrency_limit: null });
    await database.query(`select signalbox_v1.enqueue($1, 'run-' || n) from generate_series(1, 300) n`, [queue]);
    const text = String.raw`{"n": 1.0,  "big":12345678901234567890, "u":"\u00fc" }`;
    const post = async (path: string, body: string) => {
      const headers = { 'content-type': 'application/json' };
      return (await fetch(client.url + path, { method: 'POST', headers, body })).text();
    };
    await post(`/v1/queues/${queue}/enqueue`, `{"claim_id":"last","payload":${text}}`);
    expect(await database.query('select from signalbox.inbox where claim_id = $1', ['last'])).toMatchObject({
      rowCount: 1,
    });
    expect(await post('/v1/take', JSON.stringify({ holder: 'worker', queue, max: 1000 }))).toContain(
      `"payload":${text}`,
    );
  });

  it.each([1, 499])('of %i others goes with them, too', async (count) => {
    const queue = anId('q');
    await client.put(queue, { concurrency_limit: null });
    await database.query(`select signalbox_v1.enqueue($1, 'run-' || n) from generate_series(1, $2::int) n`, [
      queue,
      count,
    ]);
    const made = await Promise.all(['x', 'y'].map((claim_id) => client.enqueue(queue, { claim_id, delay_ms: 0 })));
    expect(made.map(({ status }) => status)).toEqual([201, 201]);
    const { claims = [] } = (await client.take({ queue, max: 1000 })).body;
    expect(claims).toHaveLength(count + 2);
    expect(
      claims
        .slice(-2)
        .map(({ claim_id: id }) => id)
        .sort(),
    ).toEqual(['x', 'y']);
  });
});
