import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import type { EventPage } from '../../src/protocol/events.ts';
import type { ConfiguredWebhook } from '../../src/protocol/webhooks.ts';
import { freshDatabase, type TestDatabase } from '../support/database.ts';
import { anId } from '../support/http-client.ts';
import { withoutLeader } from '../support/test-app.ts';
import { aToken, type MadeToken, startTokenApp, type TokenApp } from '../support/token-app.ts';
import { feedPatienceMs, until } from '../support/until.ts';

vi.setConfig({ testTimeout: 2 * feedPatienceMs });

let database: TestDatabase;
let app: TokenApp;
let token: MadeToken;

beforeAll(async () => {
  database = await freshDatabase();
  await withoutLeader(database);
  token = await aToken(database, { name: 'ops' });
  app = await startTokenApp(database);
});
afterAll(async () => {
  await app[Symbol.asyncDispose]();
  await database[Symbol.asyncDispose]();
});

async function ask(method: string, path: string, body?: unknown) {
  const { status, headers, text } = await app.ask(method, path, { token, ...(body === undefined ? {} : { body }) });
  return {
    status,
    headers,
    text,
    body: JSON.parse(text) as ConfiguredWebhook & { code?: string; webhooks?: unknown[] },
  };
}

const url = 'https://hooks.example.org/path-part?key=query-part';
const given = `whsec_${Buffer.alloc(32, 7).toString('base64')}`;

describe('a secret', () => {
  it('is made if there is none, shown once, and found nowhere else ever after', async () => {
    const name = anId('hook');
    const made = await ask('PUT', `/v1/webhooks/${name}`, { url });
    const { secret } = made.body;
    expect(secret).toMatch(/^whsec_[A-Za-z0-9+/]{43}=$/);
    const later = [
      await ask('PUT', `/v1/webhooks/${name}`, { url }),
      await ask('PUT', `/v1/webhooks/${name}`, { url, enabled: false }),
      await ask('GET', `/v1/webhooks/${name}`),
      await ask('GET', '/v1/webhooks'),
      await ask('GET', '/v1/events?limit=1000'),
      await ask('DELETE', `/v1/webhooks/${name}`),
    ];
    for (const { status, text } of later) {
      expect(status).toBe(200);
      expect(text).not.toContain(secret?.slice(6));
      expect(text).not.toContain('whsec_');
    }
    const view = await database.query('select * from signalbox_v1.webhooks');
    expect(JSON.stringify(view.rows)).not.toMatch(/whsec_|query-part|path-part/);
    expect(app.log()).not.toContain(secret?.slice(6));
  });

  it('that was given is taken, kept by a later PUT without one, and never shown', async () => {
    const name = anId('hook');
    const stored = async () =>
      (await database.query('select secret from signalbox.webhooks where name = $1', [name])).rows[0];
    expect((await ask('PUT', `/v1/webhooks/${name}`, { url, secret: given })).text).not.toContain('whsec_');
    expect((await ask('PUT', `/v1/webhooks/${name}`, { url, enabled: false })).body.enabled).toBe(false);
    expect(await stored()).toEqual({ secret: given });
    const other = `whsec_${Buffer.alloc(24, 8).toString('base64')}`;
    await ask('PUT', `/v1/webhooks/${name}`, { url, secret: other });
    expect(await stored()).toEqual({ secret: other });
    expect(app.log()).not.toContain(given.slice(6));
  });
});

it('the feed tells of changes without path, query and secret', async () => {
  const name = anId('hook');
  await ask('PUT', `/v1/webhooks/${name}`, {
    url,
    types: ['lease.granted'],
    queue_prefix: 'a/',
    labels: { tenant: 'acme' },
  });
  await ask('DELETE', `/v1/webhooks/${name}`);
  // The feed waits for transactions that others of this server have begun.
  const { text, events } = await until(
    async () => {
      const answer = await ask('GET', '/v1/events?limit=1000');
      const told = (JSON.parse(answer.text) as EventPage).events.filter((event) => event['webhook'] === name);
      return told.length >= 2 && { text: answer.text, events: told };
    },
    { timeoutMs: feedPatienceMs, what: 'both events are in the feed' },
  );
  expect(events).toMatchObject([
    {
      type: 'webhook.changed',
      target: 'https://hooks.example.org',
      types: ['lease.granted'],
      queue_prefix: 'a/',
      claim_labels: { tenant: 'acme' },
      enabled: true,
      actor: 'ops',
    },
    { type: 'webhook.deleted', actor: 'ops' },
  ]);
  expect(text).not.toMatch(/query-part|path-part/);
});

it('If-Match guards changes and deletion, as of queues', async () => {
  const path = `/v1/webhooks/${anId('hook')}`;
  const send = (method: string, ifMatch: string, body?: object) =>
    fetch(app.app.url + path, {
      method,
      headers: {
        authorization: `Bearer ${token.token}`,
        'if-match': ifMatch,
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
  expect((await send('PUT', '*', { url })).status).toBe(412);
  const made = await ask('PUT', path, { url });
  const etag = made.headers.get('etag') ?? '';
  expect(etag).toBe(`"${made.body.version}"`);
  expect((await ask('PUT', path, { url })).headers.get('etag')).toBe(etag);
  const changed = await send('PUT', etag, { url, enabled: false });
  expect(changed.status).toBe(200);
  expect((await send('PUT', etag, { url })).status).toBe(412);
  expect((await send('DELETE', etag)).status).toBe(412);
  expect((await send('DELETE', changed.headers.get('etag') ?? '')).status).toBe(200);
  for (const method of ['GET', 'DELETE'])
    expect((await ask(method, path)).body).toMatchObject({ code: 'webhook_not_found' });
  const again = await ask('PUT', path, { url });
  expect(again.body.version).toBeGreaterThan(made.body.version + 1);
  expect(again.body.secret).not.toBe(made.body.secret);
});

it('a hundred is the most there may be', async () => {
  await database.query('delete from signalbox.webhooks');
  for (let n = 0; n < 100; n++) expect((await ask('PUT', `/v1/webhooks/n${n}`, { url })).status).toBe(200);
  expect(await ask('PUT', '/v1/webhooks/n100', { url })).toMatchObject({
    status: 400,
    body: { code: 'invalid_settings' },
  });
  expect((await ask('PUT', '/v1/webhooks/n99', { url, enabled: false })).status).toBe(200);
  expect((await ask('GET', '/v1/webhooks')).body.webhooks).toHaveLength(100);
  await database.query('delete from signalbox.webhooks');
});

describe('a URL', () => {
  it.each([
    'http://127.0.0.1:9/x',
    'http://localhost/x',
    'http://[::1]:8080/',
    'https://10.0.0.1/',
    'https://example.org/ä?x=ü',
  ])('%s is taken', async (good) => {
    expect((await ask('PUT', `/v1/webhooks/${anId('hook')}`, { url: good, enabled: false })).status).toBe(200);
  });

  it.each([
    'http://example.org/',
    'http://localhost.example.org/',
    'http://127.0.0.1.example.org/',
    'http://10.0.0.1/',
    'http://0.0.0.0/',
    'ftp://127.0.0.1/',
    'file:///etc/passwd',
    'https://user:password@example.org/',
    'example.org',
    '',
    'https://example.org/\n',
  ])('%j is refused', async (bad) => {
    const { status, body } = await ask('PUT', `/v1/webhooks/${anId('hook')}`, { url: bad });
    expect([status, body.code]).toEqual([400, 'invalid_request']);
  });

  it('may be http elsewhere if the caller says so', async () => {
    const { status } = await ask('PUT', `/v1/webhooks/${anId('hook')}`, {
      url: 'http://example.org/',
      allow_http: true,
      enabled: false,
    });
    expect(status).toBe(200);
  });
});

it.each([
  ['no URL', {}],
  ['another field', { url, also: 1 }],
  ['a secret that is too short', { url, secret: 'whsec_YWJj' }],
  ['a secret without its prefix', { url, secret: given.slice(6) }],
  ['no types', { url, types: [] }],
  ['an unknown type', { url, types: ['lease.vanished'] }],
  ['no labels at all', { url, labels: {} }],
  ['nine labels', { url, labels: Object.fromEntries(Array.from('abcdefghi').map((name) => [name, 'x'])) }],
  ['a label that is a number', { url, labels: { tenant: 1 } }],
  ['a prefix with a space', { url, queue_prefix: 'a b' }],
])('a body with %s is refused', async (_what, body) => {
  const { status, body: problem, text } = await ask('PUT', `/v1/webhooks/${anId('hook')}`, body);
  expect([status, problem.code]).toEqual([400, 'invalid_request']);
  expect(text).not.toContain('whsec_YWJj');
});
