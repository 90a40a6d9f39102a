import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { freshDatabase, type TestDatabase } from '../support/database.ts';
import { aBuild, aMergeQueue, MergeQueueClient, type MergeReply } from '../support/merge-queue-client.ts';
import { startTestApp, type TestApp, withoutLeader } from '../support/test-app.ts';

let database: TestDatabase;
let app: TestApp;
let client: MergeQueueClient;

beforeAll(async () => {
  database = await freshDatabase();
  await withoutLeader(database);
  app = await startTestApp(database, { MERGE_QUEUE_EXPECTED_COUNT: '2' });
  client = new MergeQueueClient(app.url);
});
afterAll(async () => {
  await app[Symbol.asyncDispose]();
  await database[Symbol.asyncDispose]();
});

const detailOf = (queue: string) => client.ask('GET', `/v1/merge-queues/${queue}`);
async function put(queue: string, settings: object, ifMatch?: string): Promise<MergeReply> {
  const response = await fetch(`${app.url}/v1/merge-queues/${queue}`, {
    method: 'PUT',
    headers: { 'content-type': 'application/json', ...(ifMatch === undefined ? {} : { 'if-match': ifMatch }) },
    body: JSON.stringify(settings),
  });
  const text = await response.text();
  return {
    status: response.status,
    headers: response.headers,
    text,
    body: JSON.parse(text) as MergeReply['body'],
  };
}

describe('/v1/merge-queues/:owner/:repo/:base_ref', () => {
  it('is 404 merge_queue_not_found for one that nobody made, although /merge-queue shows it empty', async () => {
    const queue = aMergeQueue();
    const answer = await detailOf(queue);
    expect([answer.status, answer.body.code]).toEqual([404, 'merge_queue_not_found']);
    // In the words of the path, not by the name it has in views.
    expect(answer.text).toContain(`There is no merge queue ${queue}`);
    expect(answer.headers.get('content-type')).toBe('application/problem+json');
    expect((await client.show(queue)).status).toBe(200);
  });

  it('PUT makes one, and keeps the value of absent fields', async () => {
    const queue = aMergeQueue();
    const made = await put(queue, { stabilisation_ms: 1500, hold_ttl_ms: 60_000 });
    expect([made.status, made.headers.get('etag')]).toEqual([200, '"1"']);
    expect(made.body).toMatchObject({
      queue: `merge-queue/${queue}`,
      stabilisation_ms: 1500,
      ttl_ms: 200_000,
      expected_count: 2,
      hold_ttl_ms: 60_000,
      auto_created: false,
      mode: 'open',
      requests: [],
    });
    const changed = await put(queue, { hold_ttl_ms: null, success_completes: 'contained' });
    expect(changed.body).toMatchObject({ stabilisation_ms: 1500, hold_ttl_ms: null, success_completes: 'contained' });
    expect(changed.headers.get('etag')).toBe('"2"');
  });

  it('settings change live: the next poll is decided by the new ones', async () => {
    const queue = aMergeQueue();
    expect((await client.acquire(queue, aBuild(1))).body.request?.status).toBe('pending');
    await put(queue, { expected_count: 1 });
    expect((await client.acquire(queue, aBuild(1))).body.request?.status).toBe('acquired');
  });

  it('settings change live: a call that waits is decided anew', async () => {
    const queue = aMergeQueue();
    const waiting = client.acquire(queue, aBuild(1, { wait_ms: 60_000 }));
    await put(queue, { expected_count: 1 });
    expect((await waiting).body.request?.status).toBe('acquired');
  });

  it('If-Match guards a change', async () => {
    const queue = aMergeQueue();
    expect((await put(queue, {}, '*')).body.code).toBe('version_mismatch');
    expect((await put(queue, {}, '"0"')).status).toBe(200);
    const late = await put(queue, {}, '"0"');
    expect([late.status, late.body.code]).toEqual([412, 'version_mismatch']);
    expect((await put(queue, { ttl_ms: 1000 }, '"1"')).status).toBe(200);
    expect((await put(queue, { ttl_ms: 2000 }, '"1"')).status).toBe(412);
    expect((await put(queue, { ttl_ms: 2000 }, '*')).status).toBe(200);
    expect((await put(queue, {}, 'W/"1"')).status).toBe(400);
  });

  it('GET tells the mode, who holds, who waits and why', async () => {
    const queue = aMergeQueue();
    await client.acquire(queue, aBuild(1, { request_id: 'run 1' }));
    const { body: holder } = await client.acquire(queue, aBuild(2));
    const { status, body, headers } = await detailOf(queue);
    expect([status, headers.get('etag'), body['mode']]).toEqual([200, '"1"', 'held']);
    expect(body['requests']).toMatchObject([
      { head_sha: 'sha of 2', status: 'acquired', fencing_token: holder.fencing_token, position: null },
      { head_sha: 'sha of 1', status: 'pending', request_id: 'run 1', waiting_for: 'held', position: 1 },
    ]);
  });

  it('DELETE refuses one in use, unless forced', async () => {
    const queue = aMergeQueue();
    await client.acquire(queue, aBuild(1));
    const url = `/v1/merge-queues/${queue}`;
    const refused = await client.ask('DELETE', url);
    expect([refused.status, refused.body.code]).toEqual([409, 'merge_queue_in_use']);
    const deleted = await client.ask('DELETE', `${url}?force=true`);
    expect([deleted.status, deleted.body]).toEqual([200, { deleted: true }]);
    expect((await client.ask('DELETE', url)).status).toBe(404);
  });

  it.each(['o%2Fp/r/main', '../r/main', 'o/r/..', 'o/r%20r/main', `o/r/${'b'.repeat(195)}`, 'o/r/%zz'])(
    'a path that can name none is 400 or unknown, and makes nothing: %s',
    async (queue) => {
      const { rows: before } = await database.query('select count(*) from signalbox.merge_queues');
      expect([400, 404, 405]).toContain((await put(queue, {})).status);
      expect((await database.query('select count(*) from signalbox.merge_queues')).rows).toEqual(before);
    },
  );
});

describe('/v1/merge-queues', () => {
  it('lists by name, in pages, by prefix', async () => {
    const owner = aMergeQueue().replaceAll('/', '-');
    const queues = ['a', 'b', 'c'].map((repo) => `${owner}/${repo}/main`);
    for (const queue of queues) await put(queue, {});
    const seen: string[] = [];
    let cursor = '';
    do {
      const query = new URLSearchParams({ prefix: `merge-queue/${owner}/`, limit: '2', cursor });
      const { body } = await client.ask('GET', `/v1/merge-queues?${query.toString()}`);
      const page = body as unknown as { merge_queues: { queue: string }[]; next_cursor: string | null };
      seen.push(...page.merge_queues.map(({ queue }) => queue));
      cursor = page.next_cursor ?? '';
    } while (cursor !== '');
    expect(seen).toEqual(queues.map((queue) => `merge-queue/${queue}`));
  });

  it('does not list queues of the other kind, nor /v1/queues merge queues', async () => {
    await app.client.hold('merge-queue/an/ordinary/queue');
    const queue = aMergeQueue();
    await put(queue, {});
    const merge = (await client.ask('GET', '/v1/merge-queues?limit=100')).text;
    const ordinary = (await client.ask('GET', '/v1/queues?limit=1000')).text;
    expect(merge).toContain(queue);
    expect(merge).not.toContain('an/ordinary/queue');
    expect(ordinary).toContain('an/ordinary/queue');
    expect(ordinary).not.toContain(queue);
  });
});
