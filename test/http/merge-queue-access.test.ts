import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { freshDatabase, type TestDatabase } from '../support/database.ts';
import { aBuild, aMergeQueue, MergeQueueClient } from '../support/merge-queue-client.ts';
import { withoutLeader } from '../support/test-app.ts';
import { aToken, type MadeToken, startTokenApp, type TokenApp } from '../support/token-app.ts';
import { until } from '../support/until.ts';

let database: TestDatabase;
let app: TokenApp;
let client: MergeQueueClient;
let admin: MadeToken;
let use: MadeToken;

beforeAll(async () => {
  database = await freshDatabase();
  await withoutLeader(database);
  admin = await aToken(database, { name: 'the operator' });
  use = await aToken(database, { scope: 'use' });
  app = await startTokenApp(database, { MERGE_QUEUE_EXPECTED_COUNT: '1' });
  client = new MergeQueueClient(app.app.url);
});
afterAll(async () => {
  await app[Symbol.asyncDispose]();
  await database[Symbol.asyncDispose]();
});

const bearer = ({ token }: MadeToken) => `Bearer ${token}`;
const basic = ({ token }: MadeToken, user = 'ci') => `Basic ${Buffer.from(`${user}:${token}`).toString('base64')}`;

describe('3.1 authentication', () => {
  it('takes a token as the password of Basic, for any user, and as Bearer', async () => {
    for (const authorization of [basic(use), basic(use, ''), basic(use, 'Jürgen'), bearer(use)]) {
      const answer = await client.acquire(aMergeQueue(), aBuild(1), { authorization });
      expect([answer.status, answer.body.request?.status]).toEqual([200, 'acquired']);
    }
  });

  it('takes the name of the scheme in any case', async () => {
    const authorization = basic(use).replace('Basic', 'bAsIc');
    expect((await client.acquire(aMergeQueue(), aBuild(1), { authorization })).status).toBe(200);
  });

  it('takes Basic under /merge-queue and nowhere else', async () => {
    expect((await client.ask('GET', '/v1/merge-queues', { authorization: basic(admin) })).status).toBe(401);
    expect((await client.ask('GET', '/v1/merge-queues', { authorization: bearer(admin) })).status).toBe(200);
  });

  it.each<[what: string, authorization: () => string | undefined]>([
    ['nothing', () => undefined],
    ['a wrong password', () => `Basic ${Buffer.from('ci:letmein').toString('base64')}`],
    ['no password', () => `Basic ${Buffer.from(use.token).toString('base64')}`],
    ['a password with something behind it', () => `Basic ${Buffer.from(`ci:${use.token} x`).toString('base64')}`],
    ['no base64', () => 'Basic ###'],
    ['a wrong secret', () => `Basic ${Buffer.from(`ci:sbx_${use.tokenId}_${'A'.repeat(43)}`).toString('base64')}`],
  ])('%s: 401 in text, before route, provider and body', async (_what, credentials) => {
    const authorization = credentials();
    const options = authorization === undefined ? {} : { authorization };
    const queue = aMergeQueue();
    for (const [method, path] of [
      ['GET', '/merge-queue'],
      ['GET', `/merge-queue/${queue}`],
      ['POST', `/merge-queue/${queue}/acquire`],
      ['POST', '/merge-queue/not/a%20name/main/acquire'],
      ['GET', '/merge-queue/not/a%zz/main'],
      ['GET', '/merge-queue/unknown'],
      ['PUT', `/merge-queue/${queue}`],
    ] as const) {
      const answer = await client.ask(method, path, { ...options, ...(method === 'POST' ? { body: '{' } : {}) });
      expect([answer.status, answer.text], path).toEqual([401, 'Unauthorized']);
      expect(answer.headers.get('www-authenticate')).toBe('basic realm=Restricted');
      expect(answer.headers.get('allow')).toBeNull();
      expect(answer.headers.get('content-type')).toBe('text/plain; charset=utf-8');
    }
  });

  it('W16: probes need no credentials', async () => {
    for (const path of ['/healthz', '/readyz']) expect((await client.ask('GET', path)).status, path).toBe(200);
  });
});

describe('W17: rights', () => {
  it('a token of scope use takes part, and does not clear', async () => {
    const queue = aMergeQueue();
    const authorization = basic(use);
    const { body } = await client.acquire(queue, aBuild(1), { authorization });
    const lease = { head_sha: 'sha of 1', fencing_token: body.fencing_token };
    expect((await client.renew(queue, lease, { authorization })).status).toBe(200);
    const cleared = await client.ask('DELETE', `/merge-queue/${queue}`, { authorization });
    expect([cleared.status, cleared.body.code]).toEqual([403, 'forbidden']);
    expect(cleared.body.error_context).toContain('scope admin');
    expect(cleared.headers.get('content-type')).toBe('application/json');
    expect((await client.release(queue, { ...aBuild(1), status: 'success' }, { authorization })).status).toBe(200);
  });

  it('a prefix shows and opens only the merge queues whose names begin so', async () => {
    const [mine, other] = [aMergeQueue(), aMergeQueue()];
    for (const queue of [mine, other]) await client.acquire(queue, aBuild(1), { authorization: basic(use) });
    const prefix = `merge-queue/${mine.replace(/main$/, '')}`;
    const token = await aToken(database, { prefix });
    await until(async () => (await client.ask('GET', '/merge-queue', { authorization: basic(token) })).status === 200, {
      what: 'the token is known',
    });
    const { body } = await client.ask('GET', '/merge-queue', { authorization: basic(token) });
    expect(Object.keys(body)).toEqual([mine.replaceAll('/', ':')]);
    const page = await client.ask('GET', '/v1/merge-queues', { authorization: bearer(token) });
    expect((page.body['merge_queues'] as { queue: string }[]).map(({ queue }) => queue)).toEqual([
      `merge-queue/${mine}`,
    ]);
    for (const [queue, status] of [
      [mine, 200],
      [other, 403],
    ] as const) {
      expect((await client.ask('GET', `/merge-queue/${queue}`, { authorization: basic(token) })).status).toBe(status);
      const url = `/v1/merge-queues/${queue}`;
      expect((await client.ask('GET', url, { authorization: bearer(token) })).status).toBe(status);
      expect((await client.ask('DELETE', `/merge-queue/${queue}`, { authorization: basic(token) })).status).toBe(
        status,
      );
    }
  });

  it('an encoded slash does not carry a name past a prefix', async () => {
    const token = await aToken(database, { prefix: 'merge-queue/acme/' });
    await until(async () => (await client.ask('GET', '/merge-queue', { authorization: basic(token) })).status === 200, {
      what: 'the token is known',
    });
    for (const queue of ['acme%2Fshop/x/main', 'acme%2F..%2Fother/x/main', '/acme/shop'])
      expect((await client.ask('GET', `/merge-queue/${queue}`, { authorization: basic(token) })).status).not.toBe(200);
  });

  it('a token of other queues sees an empty list', async () => {
    const token = await aToken(database, { prefix: 'deploy/' });
    await until(async () => (await client.ask('GET', '/merge-queue', { authorization: basic(token) })).status === 200, {
      what: 'the token is known',
    });
    expect((await client.ask('GET', '/merge-queue', { authorization: basic(token) })).body).toEqual({});
  });
});

describe('the log', () => {
  interface Line {
    readonly method?: string;
    readonly route?: string;
    readonly queue?: string;
    readonly level?: unknown;
    readonly [field: string]: unknown;
  }
  const linesAbout = (queue: string) =>
    app
      .log()
      .split('\n')
      .filter((line) => line.includes(`merge-queue/${queue}`))
      .map((line) => JSON.parse(line) as Line)
      .filter(({ method }) => method !== undefined);

  it('has one line a call with the name of the merge queue, admin calls at info with who called, and the refusal', async () => {
    const queue = `${aMergeQueue()}%2F2`;
    const named = decodeURIComponent(queue);
    await client.acquire(queue, aBuild(1), { authorization: basic(use) });
    await client.acquire(queue, aBuild(1), { authorization: basic(use) });
    await client.ask('DELETE', `/merge-queue/${queue}`, { authorization: basic(admin) });
    await until(() => linesAbout(named).length === 3, { what: 'three lines are written' });
    const [acquired, refused, cleared] = linesAbout(named);
    const route = '/merge-queue/:owner/:repo/:base_ref';
    expect(acquired).toMatchObject({ route: `${route}/acquire`, status: 200, queue: `merge-queue/${named}` });
    expect(refused).toMatchObject({ status: 409, code: 'status_mismatch', token_id: use.tokenId });
    expect(cleared).toMatchObject({ method: 'DELETE', route, status: 200, caller: 'the operator' });
    expect(cleared?.level).toBe(refused?.level);
    expect(acquired?.level).not.toBe(cleared?.level);
  });

  it('knows no secret and no password', () => {
    const encoded = basic(use).slice('Basic '.length);
    for (const secret of [use.secret, admin.secret, encoded]) expect(app.log().includes(secret)).toBe(false);
  });
});

describe('who cleared a merge queue', () => {
  it('is told by its event', async () => {
    const queue = aMergeQueue();
    await client.acquire(queue, aBuild(1), { authorization: basic(use) });
    await client.ask('DELETE', `/merge-queue/${queue}`, { authorization: basic(admin) });
    const told = async () => {
      const { body } = await client.ask('GET', `/v1/events?queue=${encodeURIComponent(`merge-queue/${queue}`)}`, {
        authorization: bearer(admin),
      });
      return body['events'];
    };
    // The feed waits for transactions that others of this server have begun.
    await expect
      .poll(told)
      .toContainEqual(expect.objectContaining({ type: 'merge_request.broken', actor: 'the operator' }));
  });
});
