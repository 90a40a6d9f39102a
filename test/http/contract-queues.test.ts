import { request } from 'node:http';
import { describe, expect, it } from 'vitest';
import type { QueuePage } from '../../src/protocol/queues.ts';
import { type TestDatabase } from '../support/database.ts';
import { anId, type TestClient } from '../support/http-client.ts';
import { lineUp, shapeOf, untilWaiting } from '../support/test-app.ts';
import { oneReplica } from '../support/one-replica.ts';

let database: TestDatabase;
let client: TestClient;
oneReplica((parts) => ({ database, client } = parts));

const list = async (query: Record<string, string>) =>
  (await client.ask<QueuePage>('GET', `/v1/queues?${new URLSearchParams(query).toString()}`)).body;
const remove = (queue: string, query = '') => client.ask('DELETE', `/v1/queues/${encodeURIComponent(queue)}${query}`);
const check = (queue: string, token: number, query = '') =>
  client.ask('GET', `/v1/queues/${queue}/check?fencing_token=${token}${query}`);

/** A request whose path goes out byte by byte: fetch would resolve dot segments. */
function rawGet(path: string): Promise<{ status: number; code: string }> {
  return new Promise((resolve, reject) => {
    const call = request(client.url, { path }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
      response.on('end', () => {
        resolve({ status: response.statusCode ?? 0, code: (JSON.parse(text) as { code: string }).code });
      });
    });
    call.on('error', reject).end();
  });
}

describe('names', () => {
  it.each(['team/repo', 'a:b@c', '-', '_', '/', '..a', 'A.b-C_d/e:f@9', '@'.repeat(200)])(
    'queue and claim may be called %s, percent-encoded in a path',
    async (name) => {
      const lease = await client.hold(name, { claim_id: name });
      expect([lease.queue, lease.claim_id]).toEqual([name, name]);
      expect(await client.get(name, name)).toMatchObject({ status: 200, body: { queue: name, claim_id: name } });
      expect(await client.release(lease)).toMatchObject({ body: { released: true } });
      expect((await client.queue(name)).body.queue).toBe(name);
      expect(await remove(name)).toMatchObject({ status: 200 });
    },
  );

  it.each(['/v1/queues/..', '/v1/queues/%2E', '/v1/queues/...', '/v1/queues/q/claims/%2E%2E', '/v1/queues/q/claims/.'])(
    'dots only are refused: %s',
    async (path) => {
      expect(await rawGet(path)).toEqual({ status: 400, code: 'invalid_request' });
    },
  );

  it.each(['.', '...', '', 'a b', 'ü', 'a\u0000b', 'a'.repeat(201), 'a%2Fb'])(
    'a claim_id %j in a body is refused',
    async (claim_id) => {
      const queue = anId('q');
      expect(await client.acquire(queue, { claim_id })).toMatchObject({
        status: 400,
        body: { code: 'invalid_request' },
      });
      expect((await client.queue(queue)).status).toBe(404);
    },
  );
});

describe('GET /v1/queues', () => {
  const names = ['-', '..x', '/', '0', '9', ':', '@', 'A', 'Z', '_', 'a', 'a-b', 'a/', 'a/b', 'a:b', 'aB', 'ab', 'z'];

  it('pages through all names by byte order, with prefix and cursor', async () => {
    const root = anId('p');
    const all = names.map((name) => root + name);
    await Promise.all(all.toReversed().map((name) => client.put(name, {})));
    const seen: string[] = [];
    const sizes: number[] = [];
    for (let cursor: string | null = ''; cursor !== null;) {
      const page: QueuePage = await list({ prefix: root, limit: '4', cursor });
      sizes.push(page.queues.length);
      seen.push(...page.queues.map(({ queue }) => queue));
      cursor = page.next_cursor;
    }
    expect(seen).toEqual(all);
    expect(sizes).toEqual([4, 4, 4, 4, 2]);
    expect((await list({ prefix: `${root}a`, limit: '4' })).queues.map(({ queue }) => queue)).toEqual(
      ['a', 'a-b', 'a/', 'a/b'].map((name) => root + name),
    );
    for (const prefix of ['a/', 'z', '@', '_']) {
      const found = (await list({ prefix: root + prefix })).queues.map(({ queue }) => queue);
      expect(found).toEqual(all.filter((name) => name.startsWith(root + prefix)));
    }
  });

  it('a page that is just full is the last one', async () => {
    const root = anId('p');
    await client.put(`${root}1`, {});
    await client.put(`${root}2`, {});
    expect(await list({ prefix: root, limit: '2' })).toMatchObject({ next_cursor: null });
    expect(await list({ prefix: root, limit: '1' })).toMatchObject({ next_cursor: `${root}1` });
    expect(await list({ prefix: anId('none') })).toEqual({ queues: [], next_cursor: null });
  });

  it('a cursor survives the deletion of the queue it names', async () => {
    const root = anId('p');
    for (const end of ['1', '2', '3']) await client.put(root + end, {});
    const { next_cursor: cursor } = await list({ prefix: root, limit: '2' });
    await remove(`${root}2`);
    expect((await list({ prefix: root, cursor: cursor ?? '' })).queues.map(({ queue }) => queue)).toEqual([`${root}3`]);
  });

  it('shows limit, held, waiting and the oldest wait', async () => {
    const queue = anId('q');
    await client.hold(queue);
    await lineUp(client, queue, 'a', 'b');
    const [shown] = (await list({ prefix: queue })).queues;
    expect(shown).toMatchObject({ queue, concurrency_limit: 1, held: 1, waiting: 2, draining: 0 });
    expect(shown?.oldest_wait_ms).toBeGreaterThanOrEqual(0);
    expect(shapeOf((await list({ prefix: queue })).queues[0])).not.toHaveProperty('holders');
  });
});

describe('GET of a queue', () => {
  it('shows holders and the head of the line', async () => {
    const queue = anId('q');
    const lease = await client.hold(queue);
    await lineUp(client, queue, ...Array.from({ length: 12 }, (_, i) => `c${i}`));
    const { body } = await client.queue(queue);
    expect(shapeOf(body.holders[0])).toEqual({
      claim_id: 'string',
      holder: 'string',
      kind: 'string',
      slot: 'integer',
      fencing_token: 'integer',
      ttl_remaining_ms: 'integer',
      expired: 'boolean',
      release_requested: 'boolean',
      acquired_at: 'instant',
      expires_at: 'instant',
    });
    expect(body.holders).toMatchObject([{ claim_id: lease.claim_id, fencing_token: lease.fencing_token, slot: 1 }]);
    expect(shapeOf(body.line[0])).toEqual({
      claim_id: 'string',
      holder: 'string',
      position: 'integer',
      priority: 'integer',
      waiting_for: 'string',
      why: 'string',
      estimated_wait_ms: 'null',
      enqueued_at: 'instant',
    });
    expect(body.line.map(({ position, claim_id }) => [position, claim_id])).toEqual(
      Array.from({ length: 10 }, (_, i) => [i + 1, `c${i}`]),
    );
    expect(body.waiting).toBe(12);
  });

  it('shows the first ten runs beside them, with their attempts', async () => {
    const queue = anId('q');
    for (let i = 0; i < 12; i++) await client.enqueue(queue, { claim_id: `r${i}` });
    const taken = await client.takeOne({ queue });
    await client.release(taken, { outcome: 'retry', retry_after_ms: 0 });
    const { body } = await client.queue(queue);
    expect(body).toMatchObject({ waiting: 12, runs: 12, line: [] });
    expect(body.run_line.map(({ position, claim_id, attempts }) => [position, claim_id, attempts])).toEqual(
      Array.from({ length: 10 }, (_, i) => [i + 1, `r${i}`, i === 0 ? 1 : 0]),
    );
    expect(shapeOf(body.run_line[0])).toEqual({
      claim_id: 'string',
      position: 'integer',
      priority: 'integer',
      attempts: 'integer',
      waiting_for: 'string',
      enqueued_at: 'instant',
    });
  });
});

describe('DELETE of a queue', () => {
  const inUse = { status: 409, body: { code: 'queue_in_use' } };

  it('is 409 while there are holders or waiting claims, and changes nothing', async () => {
    const lease = await client.hold(anId('q'));
    expect(await remove(lease.queue)).toMatchObject(inUse);
    expect(await remove(lease.queue, '?force=false')).toMatchObject(inUse);
    expect(await client.renew(lease)).toMatchObject({ status: 200 });
    const queue = anId('q');
    await client.put(queue, { paused: true });
    await lineUp(client, queue, 'a');
    expect(await remove(queue)).toMatchObject(inUse);
    expect(await client.get(queue, 'a')).toMatchObject({ body: { state: 'waiting' } });
  });

  it('is 409 while there are runs, delayed ones or dead letters; with force they go with it', async () => {
    const fill: Record<string, (queue: string) => Promise<unknown>> = {
      waiting: (queue) => client.enqueue(queue, { claim_id: 'a', payload: 1 }),
      delayed: (queue) => client.enqueue(queue, { claim_id: 'a', payload: 1, delay_ms: 60_000 }),
      taken: async (queue) => {
        await client.enqueue(queue, { claim_id: 'a', payload: 1 });
        await client.takeOne({ queue });
      },
      dead: async (queue) => {
        await client.enqueue(queue, { claim_id: 'a', payload: 1 });
        await client.release(await client.takeOne({ queue }), { outcome: 'failure' });
      },
    };
    for (const [what, filled] of Object.entries(fill)) {
      const queue = anId('q');
      await filled(queue);
      expect(await remove(queue), what).toMatchObject(inUse);
      expect(await remove(queue, '?force=true'), what).toMatchObject({ status: 200 });
      expect(await client.queue(queue), what).toMatchObject({ status: 404 });
      const state = what === 'dead' ? 'released' : 'broken';
      expect(await client.get(queue, 'a'), what).toMatchObject({ body: { kind: 'run', state } });
      expect(await client.ask('GET', `/v1/dead-letters?queue=${queue}`), what).toMatchObject({
        body: { dead_letters: [] },
      });
      // Nothing is left that a queue of the same name would find.
      await client.put(queue, {});
      expect((await client.queue(queue)).body, what).toMatchObject({ runs: 0, delayed: 0, dead_letters: 0, held: 0 });
      expect((await client.take({ queue })).body.claims, what).toEqual([]);
    }
  });

  it('with force ends a line longer than one call may change', async () => {
    const queue = anId('q');
    await client.put(queue, { concurrency_limit: 0 });
    await database.query(
      `select count(*) from signalbox_v1.decide((select jsonb_agg(jsonb_build_object('op', 'acquire',
      'queue', $1::text, 'claim_id', 'c' || n, 'holder', 'h', 'fresh', true)) from generate_series(1, 2500) n))`,
      [queue],
    );
    expect((await client.queue(queue)).body.waiting).toBe(2500);
    expect(await remove(queue, '?force=true')).toMatchObject({ status: 200 });
    expect(await client.queue(queue)).toMatchObject({ status: 404 });
    const { rows } = await database.query(
      `select state, count(*)::int from signalbox_v1.ended_claims where queue = $1 group by state`,
      [queue],
    );
    expect(rows).toEqual([{ state: 'broken', count: 2500 }]);
  });

  it('with force ends holders with reason broken and wakes who waits', async () => {
    const lease = await client.hold(anId('q'));
    const polled = client.acquire(lease.queue, { claim_id: 'waits', wait_ms: 30_000 });
    await untilWaiting(client, lease.queue, 1);
    expect(await remove(lease.queue, '?force=true')).toMatchObject({ status: 200 });
    expect(await polled).toMatchObject({ status: 410, body: { code: 'claim_ended', reason: 'broken' } });
    expect(await client.renew(lease)).toMatchObject({ status: 410, body: { code: 'lease_lost', reason: 'broken' } });
    expect(await client.release(lease)).toMatchObject({ status: 200, body: { released: false, reason: 'broken' } });
    expect(await client.get(lease.queue, lease.claim_id)).toMatchObject({
      body: { state: 'broken', reason: 'broken' },
    });
    expect(await client.queue(lease.queue)).toMatchObject({ status: 404, body: { code: 'queue_not_found' } });
  });

  it('of an unused queue is 200, of one that is not there 404', async () => {
    const queue = anId('q');
    await client.put(queue, {});
    expect(await remove(queue)).toMatchObject({ status: 200 });
    expect(await remove(queue)).toMatchObject({ status: 404, body: { code: 'queue_not_found' } });
  });

  it('tokens go on growing in a queue of the same name', async () => {
    const queue = anId('q');
    const tokens: number[] = [];
    for (let round = 0; round < 5; round++) {
      tokens.push((await client.hold(queue)).fencing_token);
      await remove(queue, '?force=true');
    }
    expect(tokens).toEqual([...new Set(tokens)].toSorted((a, b) => a - b));
  });
});

describe('GET check', () => {
  it('says for each slot whether a held lease bears exactly this token, and the newest one', async () => {
    const queue = anId('q');
    await client.put(queue, { concurrency_limit: 2 });
    const [one, two] = [await client.hold(queue), await client.hold(queue)];
    const answer = (current: boolean, slot: number, newest_token: number | null) => ({
      status: 200,
      body: { current, slot, newest_token },
    });
    expect(await check(queue, one.fencing_token)).toMatchObject(answer(true, 1, one.fencing_token));
    expect(await check(queue, two.fencing_token)).toMatchObject(answer(false, 1, one.fencing_token));
    expect(await check(queue, two.fencing_token, '&slot=2')).toMatchObject(answer(true, 2, two.fencing_token));
    expect(await check(queue, one.fencing_token + 1)).toMatchObject(answer(false, 1, one.fencing_token));
    expect(await check(queue, one.fencing_token, '&slot=3')).toMatchObject(answer(false, 3, null));
    await client.release(one);
    expect(await check(queue, one.fencing_token)).toMatchObject(answer(false, 1, one.fencing_token));
    const next = await client.hold(queue);
    expect(next.fencing_token).toBeGreaterThan(two.fencing_token);
    expect(await check(queue, next.fencing_token)).toMatchObject(answer(true, 1, next.fencing_token));
    expect(Object.keys((await check(queue, 1)).body as object).sort()).toEqual(['current', 'newest_token', 'slot']);
  });

  it('in an unknown queue is 404, without a token or with a bad slot 400', async () => {
    const queue = anId('q');
    expect(await check(queue, 1)).toMatchObject({ status: 404, body: { code: 'queue_not_found' } });
    await client.put(queue, {});
    for (const slot of ['0', '-1', 'x', '1.5', '']) {
      expect(await check(queue, 1, `&slot=${slot}`)).toMatchObject({ status: 400 });
    }
    expect(await client.ask('GET', `/v1/queues/${queue}/check`)).toMatchObject({ status: 400 });
  });
});
