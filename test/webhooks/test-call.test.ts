import { afterAll, beforeAll, beforeEach, expect, it, onTestFinished, test, vi } from 'vitest';
import type { Event, EventPage } from '../../src/protocol/events.ts';
import type { Webhook, WebhookName, WebhookTest } from '../../src/protocol/webhooks.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import type { WebhookEvent } from '../../src/webhooks/events.ts';
import { WebhookRegistry } from '../../src/webhooks/registry.ts';
import { freshDatabase, type TestDatabase } from '../support/database.ts';
import { ElectionRig } from '../support/electors.ts';
import { anId } from '../support/http-client.ts';
import { startTestApp, withoutLeader } from '../support/test-app.ts';
import { aToken, type MadeToken, startTokenApp, type TokenApp } from '../support/token-app.ts';
import { feedPatienceMs, until } from '../support/until.ts';
import { accept, type AnswerMessage, WebhookReceiver } from '../support/webhook-receiver.ts';

vi.setConfig({ testTimeout: 2 * feedPatienceMs });

let database: TestDatabase;
let app: TokenApp;
let token: MadeToken;
let receiver: WebhookReceiver;
let name: string;

const secret = `whsec_${Buffer.alloc(32, 7).toString('base64')}`;

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
beforeEach(async () => {
  receiver = await openReceiver();
  name = anId('hook');
  return () => receiver[Symbol.asyncDispose]();
});

async function openReceiver(answer: AnswerMessage = accept): Promise<WebhookReceiver> {
  const opened = await WebhookReceiver.open(answer);
  opened.secret = secret;
  return opened;
}

async function ask(method: string, path: string, body?: unknown) {
  const { status, headers, text } = await app.ask(method, path, { token, ...(body === undefined ? {} : { body }) });
  return { status, headers, text, body: JSON.parse(text) as WebhookTest & { code?: string } };
}
const put = (settings: object = {}) => ask('PUT', `/v1/webhooks/${name}`, { url: receiver.url, secret, ...settings });
const show = async () => JSON.parse((await ask('GET', `/v1/webhooks/${name}`)).text) as Webhook;
const testIt = () => ask('POST', `/v1/webhooks/${name}/test`);

/** How often a test has been written down, by name of the webhook. */
async function written(): Promise<readonly { data: Record<string, unknown> }[]> {
  const { rows } = await database.query<{ data: Record<string, unknown> }>(
    `select data from signalbox.events where type = 'webhook.tested' and data ->> 'webhook' = $1`,
    [name],
  );
  return rows;
}

it('a test is one signed event, sent now, also by a webhook that is off and for other types; the feed has it too', async () => {
  await put({ enabled: false, types: ['lease.granted'], queue_prefix: 'deploy/' });
  const { status, body } = await testIt();
  expect(status).toBe(200);
  expect(body).toMatchObject({ webhook: name, delivered: true, status: 204, error: null });
  expect(body.duration_ms).toBeGreaterThanOrEqual(0);
  expect(receiver.messages).toHaveLength(1);
  const [message] = receiver.messages;
  expect(receiver.forged).toEqual([]);
  expect(message?.headers['webhook-id']).toBe(body.message_id);
  expect(message?.events).toEqual([body.event]);
  expect(body.event).toMatchObject({
    type: 'webhook.tested',
    queue: null,
    claim_id: null,
    webhook: name,
    target: new URL(receiver.url).origin,
    actor: 'ops',
  });
  const found = await until(
    async () => {
      const { events } = JSON.parse((await ask('GET', '/v1/events?limit=1000')).text) as EventPage;
      return events.find(({ id }) => id === body.event.id);
    },
    { timeoutMs: feedPatienceMs, what: 'it is in the feed' },
  );
  expect(found).toEqual(body.event);
  // Neither the answer nor the log tells what the URL holds, nor the secret.
  expect(JSON.stringify(body)).not.toMatch(/of-the-url|whsec_/);
  expect(app.log()).toMatch(/"webhook tested"/);
  expect(app.log()).not.toMatch(/of-the-url|whsec_/);
});

it('what verifies it is the secret: a receiver with another one refuses the signature', async () => {
  await put();
  receiver.secret = `whsec_${Buffer.alloc(32, 8).toString('base64')}`;
  await testIt();
  expect(receiver.forged).toHaveLength(1);
});

it.each<[string, AnswerMessage, Partial<WebhookTest>]>([
  ['500', (_, response) => void response.writeHead(500).end('no'), { status: 500, error: 'answered 500' }],
  [
    'a redirect, which is not followed',
    (_, response) => void response.writeHead(307, { location: 'http://127.0.0.1:9/' }).end(),
    { status: 307, error: 'answered 307: redirects are not followed' },
  ],
  [
    '410, which turns nothing off',
    (_, response) => void response.writeHead(410).end(),
    { status: 410, error: 'answered 410: it wants no more' },
  ],
  [
    'a connection that breaks',
    (_, response) => void response.socket?.destroy(),
    { status: null, error: 'no answer: UND_ERR_SOCKET' },
  ],
])('a receiver that answers %s is told as such, and nothing changes about the webhook', async (_, answer, told) => {
  await put();
  const before = await show();
  receiver.answer = answer;
  const { status, body } = await testIt();
  expect(status).toBe(200);
  expect(body).toMatchObject({ delivered: false, ...told });
  // Only time goes on.
  expect({ ...(await show()), lag_ms: 0 }).toEqual({ ...before, lag_ms: 0 });
});

it('where nobody listens there is no answer', async () => {
  await put();
  await receiver[Symbol.asyncDispose]();
  expect((await testIt()).body).toMatchObject({ delivered: false, status: null, error: 'no answer: ECONNREFUSED' });
});

it('a webhook that nobody made is 404, a body is refused, and nothing is written', async () => {
  expect(await testIt()).toMatchObject({ status: 404, body: { code: 'webhook_not_found' } });
  await put();
  expect(await ask('POST', `/v1/webhooks/${name}/test`, { url: 'http://127.0.0.1:9/' })).toMatchObject({
    status: 400,
    body: { code: 'invalid_request' },
  });
  expect(await written()).toEqual([]);
  expect(receiver.messages).toEqual([]);
});

it('only a token of scope admin for all queues may: others are refused, and nothing is sent nor written', async () => {
  await put();
  for (const other of [await aToken(database, { scope: 'use' }), await aToken(database, { prefix: 'mine/' })]) {
    const answer = await until(
      async () => {
        const got = await app.ask('POST', `/v1/webhooks/${name}/test`, { token: other });
        return got.status !== 401 && got;
      },
      { what: 'the token is known' },
    );
    expect(answer.status).toBe(403);
  }
  expect(await written()).toEqual([]);
  expect(receiver.messages).toEqual([]);
});

it('one at a time: while a receiver lets it wait, another test of the same webhook is refused, of another not', async () => {
  await put();
  const answers: (() => void)[] = [];
  receiver.answer = (_, response) => void answers.push(() => void response.writeHead(200).end());
  const first = testIt();
  await until(() => answers.length === 1, { what: 'the first is on its way' });
  const second = await testIt();
  expect(second).toMatchObject({ status: 503, body: { code: 'overloaded' } });
  expect(second.headers.get('retry-after')).toBe('1');
  const other = await openReceiver();
  onTestFinished(() => other[Symbol.asyncDispose]());
  const otherName = anId('hook');
  await ask('PUT', `/v1/webhooks/${otherName}`, { url: other.url, secret });
  expect((await ask('POST', `/v1/webhooks/${otherName}/test`)).body.delivered).toBe(true);
  answers[0]?.();
  expect((await first).body).toMatchObject({ delivered: true, status: 200 });
  expect(await written()).toHaveLength(1);
  receiver.answer = accept;
  expect((await testIt()).body.delivered).toBe(true);
});

it('a client that hangs up ends its test, and the next one is taken', async () => {
  await put();
  receiver.answer = () => undefined;
  const hangUp = new AbortController();
  const call = fetch(`${app.app.url}/v1/webhooks/${name}/test`, {
    method: 'POST',
    headers: { authorization: `Bearer ${token.token}` },
    signal: hangUp.signal,
  });
  await until(() => receiver.messages.length === 1, { what: 'it is on its way' });
  hangUp.abort();
  await expect(call).rejects.toThrow();
  receiver.answer = accept;
  await until(async () => (await testIt()).status === 200, {
    // Sooner than the receiver would have been given up.
    timeoutMs: 6000,
    what: 'the next one is taken',
  });
});

it('a replica that stops does not wait for a receiver', async () => {
  await put();
  receiver.answer = () => undefined;
  const other = await startTokenApp(database);
  const call = other.ask('POST', `/v1/webhooks/${name}/test`, { token });
  await until(() => receiver.messages.length === 1, { what: 'it is on its way' });
  await other[Symbol.asyncDispose]();
  const { status, text } = await call;
  expect([status, (JSON.parse(text) as { code: string }).code]).toEqual([503, 'shutting_down']);
});

test('a receiver that does not answer in time has failed', async () => {
  const rig = await ElectionRig.make();
  onTestFinished(() => rig[Symbol.asyncDispose]());
  const events: WebhookEvent[] = [];
  const registry = new WebhookRegistry({
    db: rig.lanes(),
    clock: systemClock,
    onEvent: (event) => events.push(event),
    timeoutMs: 300,
  });
  receiver.answer = () => undefined;
  const hook = name as WebhookName;
  await registry.set(
    hook,
    { url: receiver.url, secret, queue_prefix: '', types: null, labels: null, enabled: true, allow_http: false },
    { ifVersion: undefined, actor: undefined },
  );
  const told = await registry.test(hook, { actor: undefined, signal: new AbortController().signal });
  expect(told).toMatchObject({ delivered: false, status: null, error: 'no answer within 300 ms' });
  expect(told.duration_ms).toBeGreaterThanOrEqual(290);
  expect(events).toEqual([
    { kind: 'webhook.tested', webhook: name, status: null, error: told.error, durationMs: told.duration_ms },
  ]);
});

test('with a leader it comes in its place in the feed too, by the same id', async () => {
  const own = await freshDatabase();
  onTestFinished(() => own[Symbol.asyncDispose]());
  await using replica = await startTestApp(own);
  const { client } = replica;
  await client.ask('PUT', `/v1/webhooks/${name}`, { url: receiver.url, secret, types: ['webhook.tested'] });
  const { body } = await client.ask<WebhookTest>('POST', `/v1/webhooks/${name}/test`);
  const all = () => receiver.messages.flatMap(({ events }) => events);
  await until(() => all().length === 2, { timeoutMs: feedPatienceMs, what: 'the leader has sent it' });
  expect(all()).toEqual([body.event, body.event] satisfies Event[]);
  expect(receiver.forged).toEqual([]);
});
