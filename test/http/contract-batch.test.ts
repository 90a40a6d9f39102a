import { describe, expect, it } from 'vitest';
import { payloadBytesMax } from '../../src/protocol/runs.ts';
import { elementTexts, memberText } from '../../src/http/member-text.ts';
import type { TestDatabase } from '../support/database.ts';
import { anId, type BatchResult, type TestClient } from '../support/http-client.ts';
import { oneReplica } from '../support/one-replica.ts';
import { startTestApp, type TestApp } from '../support/test-app.ts';

let database: TestDatabase;
let replica: TestApp;
let client: TestClient;
oneReplica((parts) => ({ database, replica, client } = parts));

/** The results of a batch that was served. */
async function batch(operations: readonly unknown[], of: TestClient = client): Promise<readonly BatchResult[]> {
  const { status, body } = await of.batch(operations);
  if (status !== 200 || body.results === undefined) throw new Error(`not served: ${status} ${JSON.stringify(body)}`);
  expect(body.results.length).toBe(operations.length);
  return body.results;
}
const statuses = (results: readonly BatchResult[]) => results.map(({ status }) => status);
const codes = (results: readonly BatchResult[]) => results.map(({ status, body }) => body.code ?? status);
const acquire = (queue: string, claim_id: string, more: object = {}) => ({
  op: 'acquire',
  queue,
  claim_id,
  holder: `holder of ${claim_id}`,
  ...more,
});

describe('a batch', () => {
  it('answers each operation as its own call would, in order', async () => {
    const [held, runs] = [anId('q'), anId('q')];
    const first = await client.hold(held, { claim_id: 'first' });
    await client.hold(held, { claim_id: 'first', holder: first.holder });
    const results = await batch([
      { op: 'get', queue: held, claim_id: 'first' },
      acquire(held, 'second'),
      { op: 'enqueue', queue: runs, claim_id: 'run', payload: { a: 1 } },
      { op: 'renew', queue: held, claim_id: 'first', fencing_token: first.fencing_token, ttl_ms: 60_000 },
    ]);
    expect(statuses(results)).toEqual([200, 202, 201, 200]);
    expect(results).toMatchObject([
      { body: { claim_id: 'first', state: 'held', fencing_token: first.fencing_token } },
      { body: { claim_id: 'second', state: 'waiting', position: 1, waiting_for: 'no_free_slot' } },
      { body: { claim_id: 'run', kind: 'run', state: 'waiting' } },
      { body: { claim_id: 'first', fencing_token: first.fencing_token } },
    ]);
    const ended = await batch([
      { op: 'cancel', queue: held, claim_id: 'second' },
      { op: 'enqueue', queue: runs, claim_id: 'run' },
      { op: 'break', queue: runs, claim_id: 'run', reason: 'test', actor: 'me' },
      { op: 'release', queue: held, claim_id: 'first', fencing_token: first.fencing_token, outcome: 'success' },
    ]);
    expect(statuses(ended)).toEqual([200, 200, 200, 200]);
    expect(ended).toMatchObject([
      { body: { claim_id: 'second', state: 'cancelled' } },
      { body: { claim_id: 'run', kind: 'run' } },
      { body: { claim_id: 'run', state: 'broken', actor: 'me' } },
      { body: { released: true } },
    ]);
    expect(ended[3]?.body).toEqual({ released: true });
  });

  it('of 1000 operations has 1000 results, each about its own claim', async () => {
    const queue = anId('q');
    await client.put(queue, { concurrency_limit: null });
    const ids = Array.from({ length: 1000 }, (_, i) => `c${i}`);
    const taken = await batch(ids.map((id) => acquire(queue, id)));
    expect(taken.map(({ status, body }) => [status, body.claim_id])).toEqual(ids.map((id) => [200, id]));
    expect(new Set(taken.map(({ body }) => body.fencing_token)).size).toBe(1000);
    const released = await batch(
      taken.map(({ body }) => ({ op: 'release', queue, claim_id: body.claim_id, fencing_token: body.fencing_token })),
    );
    expect(released.every(({ status, body }) => status === 200 && body['released'] === true)).toBe(true);
    expect((await client.queue(queue)).body).toMatchObject({ held: 0 });
  });

  it('with the same claim twice is as two calls at once: one claim, and both are told of it', async () => {
    const queue = anId('q');
    const [one, two, other] = await batch([
      acquire(queue, 'c'),
      acquire(queue, 'c'),
      acquire(queue, 'c', { holder: 'thief' }),
    ]);
    expect([one?.status, two?.status]).toEqual([200, 200]);
    expect(one?.body.fencing_token).toBe(two?.body.fencing_token);
    expect(other).toMatchObject({ status: 409, body: { code: 'claim_id_reused' } });
    const ending = { op: 'release', queue, claim_id: 'c', fencing_token: one?.body.fencing_token };
    const released = await batch([ending, ending]);
    expect(statuses(released)).toEqual([200, 200]);
    expect(released.map(({ body }) => body['released']).sort()).toEqual([false, true]);
  });

  it('of acquires of a queue that nobody made makes it', async () => {
    const queues = Array.from({ length: 20 }, () => anId('new'));
    expect(statuses(await batch(queues.map((queue) => acquire(queue, 'c'))))).toEqual(queues.map(() => 200));
  });

  it('refuses what would wait, and nothing but that', async () => {
    const queue = anId('q');
    const results = await batch([
      acquire(queue, 'a', { wait_ms: 1000 }),
      acquire(queue, 'b', { wait_ms: 0 }),
      { op: 'get', queue, claim_id: 'a', wait_ms: 1000 },
      acquire(queue, 'c'),
      { op: 'renew', queue, claim_id: 'a', fencing_token: 1, wait_ms: 1 },
    ]);
    expect(codes(results)).toEqual(['invalid_request', 'invalid_request', 'invalid_request', 200, 'invalid_request']);
    for (const { body } of results.slice(0, 3))
      expect(body.detail).toMatch(/\/wait_ms: operations of a batch do not wait/);
    expect(results[4]?.body.detail).toBe('body /wait_ms: unknown field');
    expect((await client.queue(queue)).body).toMatchObject({ held: 1, waiting: 0 });
  });
});

describe('what is wrong with one operation is its own result, and its neighbours are done', () => {
  it('whatever it is', async () => {
    const [queue, busy, done] = [anId('q'), anId('busy'), anId('done')];
    await client.put(queue, { concurrency_limit: null, max_ttl_ms: 60_000 });
    await client.put(busy, { max_waiting: 0, max_runs: 0 });
    const lease = await client.hold(busy, { claim_id: 'held' });
    const over = await client.hold(done, { claim_id: 'over', holder: 'h' });
    await client.release(over);
    const wrong: [code: string, operation: unknown][] = [
      ['invalid_request', null],
      ['invalid_request', 7],
      ['invalid_request', 'acquire'],
      ['invalid_request', []],
      ['invalid_request', {}],
      ['invalid_request', { queue, claim_id: 'c' }],
      ['invalid_request', { op: 'take', queue, holder: 'h' }],
      ['invalid_request', { op: 'constructor', queue, claim_id: 'c' }],
      ['invalid_request', { op: 'get', claim_id: 'c' }],
      ['invalid_request', { op: 'get', queue: 'a b', claim_id: 'c' }],
      ['invalid_request', { op: 'get', queue }],
      ['invalid_request', { op: 'acquire', queue }],
      ['invalid_request', acquire(queue, 'x', { ttl_ms: 1 })],
      ['invalid_request', acquire(queue, 'x', { also: ['a b'] })],
      ['invalid_request', { op: 'release', queue, claim_id: 'c', fencing_token: 1, retry_after_ms: 5 }],
      ['invalid_request', { op: 'enqueue', queue, delay_ms: 5000, max_age_ms: 1000 }],
      ['invalid_request', { op: 'cancel', queue, claim_id: 'c', reason: 'r' }],
      ['payload_too_large', { op: 'enqueue', queue, payload: 'x'.repeat(payloadBytesMax - 1) }],
      ['queue_not_found', { op: 'get', queue: anId('none'), claim_id: 'c' }],
      ['queue_not_found', { op: 'release', queue: anId('none'), claim_id: 'c', fencing_token: 1 }],
      ['claim_not_found', { op: 'get', queue, claim_id: 'nobody' }],
      ['claim_not_found', { op: 'cancel', queue, claim_id: 'nobody' }],
      ['ttl_too_long', acquire(queue, 'x', { ttl_ms: 60_001 })],
      ['queue_busy', acquire(busy, 'x', { mode: 'skip_if_busy' })],
      ['queue_full', acquire(busy, 'x')],
      ['queue_full', { op: 'enqueue', queue: busy }],
      ['claim_id_reused', acquire(busy, 'held', { holder: 'thief' })],
      ['claim_ended', acquire(done, 'over', { holder: 'h' })],
      ['token_mismatch', { op: 'renew', queue: busy, claim_id: 'held', fencing_token: 1 }],
      ['token_mismatch', { op: 'release', queue: busy, claim_id: 'held', fencing_token: 1 }],
      ['lease_lost', { op: 'renew', queue: done, claim_id: 'over', fencing_token: over.fencing_token }],
    ];
    // Each between two good ones.
    const operations = wrong.flatMap(([, operation], i) => [acquire(queue, `good${i}`), operation]);
    const results = await batch(operations);
    expect(codes(results)).toEqual(wrong.flatMap(([code]) => [200, code]));
    for (const { status, body } of results)
      if (status >= 400)
        expect(body).toMatchObject({
          status,
          type: `urn:signalbox:error:${String(body.code)}`,
          title: expect.any(String) as string,
        });
    expect((await client.queue(queue)).body).toMatchObject({ held: wrong.length, waiting: 0 });
    expect(await client.renew(lease)).toMatchObject({ status: 200 });
  });

  it('says what: all faults of the operation, their places in it, and when to try again', async () => {
    const queue = anId('q');
    await client.put(queue, { max_waiting: 0 });
    await client.hold(queue);
    const [invalid, full] = await batch([
      { op: 'acquire', queue, holder: 'a\nb', priority: 'high', nope: 1 },
      acquire(queue, 'late'),
    ]);
    const faults = invalid?.body['errors'] as { in: string; path: string }[];
    expect(faults.map(({ path }) => path).sort()).toEqual(['/holder', '/nope', '/priority']);
    expect(full?.body).toMatchObject({ code: 'queue_full', retry_after_ms: 5000 });
  });

  it('does not echo a token sent in its place', async () => {
    const secret = `sbx_0123456789ab_${'s'.repeat(43)}`;
    const { body } = await client.batch([{ op: 'get', queue: anId('q'), claim_id: 'c', [secret]: 1 }]);
    expect(JSON.stringify(body)).toContain('sbx_0123456789ab_[redacted]');
    expect(JSON.stringify(body)).not.toContain('sssss');
  });
});

describe('what is wrong with the whole is refused, and nothing of it is done', () => {
  it.each<[title: string, body: (good: unknown) => unknown]>([
    ['no operation', () => ({ operations: [] })],
    ['1001 operations', (good) => ({ operations: Array(1001).fill(good) })],
    ['no list', (good) => ({ operations: good })],
    ['nothing', () => ({})],
    ['another field', (good) => ({ operations: [good], atomic: true })],
    ['a bare list', (good) => [good]],
  ])('%s', async (_title, body) => {
    const queue = anId('q');
    const answer = await client.ask('POST', '/v1/batch', body(acquire(queue, 'c')));
    expect(answer).toMatchObject({ status: 400, body: { code: 'invalid_request' } });
    expect((await client.queue(queue)).status).toBe(404);
  });

  it('a field named twice in one of the operations', async () => {
    const queue = anId('q');
    const response = await fetch(`${replica.url}/v1/batch`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: `{"operations":[{"op":"acquire","queue":"${queue}","holder":"h"},{"op":"get","queue":"q","queue":"p","claim_id":"c"}]}`,
    });
    expect([response.status, ((await response.json()) as { code: string }).code]).toEqual([400, 'invalid_json']);
    expect((await client.queue(queue)).status).toBe(404);
  });
});

describe('a payload of a batch comes back byte for byte', () => {
  it('of each its own, as deep and as long as alone', async () => {
    const queue = anId('q');
    await client.put(queue, { concurrency_limit: null });
    const payloads = [
      '{ "a" :\r\n\t[ 1.0 , 1E+2,\n 9007199254740993 ] ,  "10":{ },"9":"\\u00fc\\/" }',
      '"]},{\\"payload\\": 1"',
      'null',
      `${'['.repeat(31)}${']'.repeat(31)}`,
      `"${'x'.repeat(payloadBytesMax - 2)}"`,
    ];
    // Between them what has no payload, and one whose member is written with an escape.
    const texts = payloads.map(
      (payload, i) => `{"op":"enqueue", "queue":"${queue}", "priority":${-i}, "\\u0070ayload" : ${payload} }`,
    );
    const response = await fetch(`${replica.url}/v1/batch`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: `{"operations" : [ {"op":"enqueue","queue":"${queue}","priority":-99}, 7 , ${texts.join(' , ')}]}`,
    });
    const { results } = (await response.json()) as { results: BatchResult[] };
    expect(statuses(results)).toEqual([201, 400, ...payloads.map(() => 201)]);
    const taken = await fetch(`${replica.url}/v1/take`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ queue, holder: 'worker', max: 10 }),
    });
    const came = elementTexts(memberText(await taken.text(), 'claims') ?? '').map((text) =>
      memberText(text, 'payload'),
    );
    expect(came.map((text) => text?.slice(0, 200))).toEqual([...payloads, 'null'].map((text) => text.slice(0, 200)));
    expect(came[4]).toBe(payloads[4]);
  });
});

describe('what a batch costs', () => {
  /** How many deciding calls there were, and of how many operations, since the last time it was asked. */
  async function calls(of: TestApp): Promise<{ calls: number; operations: number }> {
    const text = await (await fetch(`${of.url}/metrics`)).text();
    const read = (name: string) => Number(new RegExp(`^${name} (\\d+)$`, 'm').exec(text)?.[1]);
    return { calls: read('signalbox_batch_operations_count'), operations: read('signalbox_batch_operations_sum') };
  }

  it('100 operations reach the database in one deciding call', async () => {
    const queues = Array.from({ length: 100 }, (_, i) => anId(`q${i}`));
    const made = await batch(queues.map((queue) => ({ op: 'enqueue', queue })));
    expect(made.every(({ status }) => status === 201)).toBe(true);
    const before = await calls(replica);
    const taken = await batch(queues.map((queue) => acquire(queue, 'c')));
    expect(taken.every(({ status }) => status === 200)).toBe(true);
    const between = await calls(replica);
    expect(between).toEqual({ calls: before.calls + 1, operations: before.operations + 100 });
    await batch(
      taken.map(({ body }) => ({
        op: 'release',
        queue: body.queue,
        claim_id: body.claim_id,
        fencing_token: body.fencing_token,
      })),
    );
    expect(await calls(replica)).toEqual({ calls: between.calls + 1, operations: between.operations + 100 });
  });

  it('operations beyond what may wait here are refused one by one, and the others are done', async () => {
    await using small = await startTestApp(database, { PENDING_MAX: '10' });
    const queue = anId('q');
    await client.put(queue, { concurrency_limit: null });
    const results = await batch(
      Array.from({ length: 25 }, (_, i) => acquire(queue, `c${i}`)),
      small.client,
    );
    expect(codes(results)).toEqual([...Array<number>(10).fill(200), ...Array<string>(15).fill('overloaded')]);
    expect(results[24]).toMatchObject({ status: 503, body: { retry_after_ms: 1000 } });
    expect((await client.queue(queue)).body).toMatchObject({ held: 10 });
  });

  it('counts operations by op and status', async () => {
    const queue = anId('q');
    const count = async (op: string, status: number) => {
      const text = await (await fetch(`${replica.url}/metrics`)).text();
      const line = `signalbox_batched_operations_total{op="${op}",status="${status}"} `;
      return Number(
        text
          .split('\n')
          .find((entry) => entry.startsWith(line))
          ?.slice(line.length) ?? 0,
      );
    };
    const before = [await count('acquire', 200), await count('cancel', 404), await count('unknown', 400)];
    await batch([
      acquire(queue, 'a'),
      acquire(anId('q'), 'b'),
      { op: 'cancel', queue: anId('none'), claim_id: 'c' },
      { op: 'rename', queue },
      null,
    ]);
    const after = [await count('acquire', 200), await count('cancel', 404), await count('unknown', 400)];
    expect(after.map((value, i) => value - (before[i] ?? 0))).toEqual([2, 1, 2]);
  });
});
