import { expect, onTestFinished, test, vi } from 'vitest';
import type { EventPage } from '../../src/protocol/events.ts';
import type { ConfiguredWebhook } from '../../src/protocol/webhooks.ts';
import { freshDatabase, type TestDatabase } from '../support/database.ts';
import { anId, type TestClient } from '../support/http-client.ts';
import { startTestApp, type TestApp } from '../support/test-app.ts';
import { feedPatienceMs, until } from '../support/until.ts';
import { accept, type AnswerMessage, WebhookReceiver } from '../support/webhook-receiver.ts';

vi.setConfig({ testTimeout: 2 * feedPatienceMs });

const environment = { LEADER_LEASE_SECONDS: '2' };

async function setup(answer: AnswerMessage = accept) {
  const database = await freshDatabase();
  onTestFinished(() => database[Symbol.asyncDispose]());
  const app = await startReplica(database);
  const receiver = await openReceiver(answer);
  return { database, app, client: app.client, receiver };
}

async function startReplica(database: TestDatabase): Promise<TestApp> {
  const app = await startTestApp(database, environment);
  onTestFinished(() => app[Symbol.asyncDispose]());
  return app;
}

async function openReceiver(answer: AnswerMessage = accept): Promise<WebhookReceiver> {
  const receiver = await WebhookReceiver.open(answer);
  onTestFinished(() => receiver[Symbol.asyncDispose]());
  return receiver;
}

async function subscribe(client: TestClient, receiver: WebhookReceiver, name: string, settings: object = {}) {
  const { status, body } = await client.ask<ConfiguredWebhook>('PUT', `/v1/webhooks/${name}`, {
    url: receiver.url,
    ...settings,
  });
  expect(status).toBe(200);
  receiver.secret = body.secret;
  return body;
}

const show = async (client: TestClient, name: string) =>
  (await client.ask<ConfiguredWebhook>('GET', `/v1/webhooks/${name}`)).body;

/** Claims that were granted and released one after another. */
async function work(client: TestClient, queue: string, ids: readonly string[]): Promise<void> {
  for (const id of ids) await client.release(await client.hold(queue, { claim_id: id }));
}

const numbered = (prefix: string, count: number) => Array.from({ length: count }, (_, n) => `${prefix}${n}`);

test('the feed comes as it is shown, in order, signed, from the moment the webhook was made', async () => {
  const { client, receiver } = await setup();
  await work(client, 'q', ['before']);
  const { secret } = await subscribe(client, receiver, 'all');
  expect(secret).toMatch(/^whsec_[A-Za-z0-9+/]{43}=$/);
  const ids = numbered('c', 20);
  await work(client, 'q', ids);
  await until(() => receiver.claimsOf('lease.released').length === 20, {
    timeoutMs: feedPatienceMs,
    what: 'all have come',
  });
  expect(receiver.claimsOf('lease.granted')).toEqual(ids);
  expect(receiver.claimsOf('lease.released')).toEqual(ids);
  expect(receiver.forged).toEqual([]);
  const feed = (await client.ask<EventPage>('GET', '/v1/events?limit=1000')).body.events;
  const first = feed.findIndex(({ id }) => id === receiver.events[0]?.id);
  // The first one is that of the webhook itself.
  expect(receiver.events[0]).toMatchObject({ type: 'webhook.changed', webhook: 'all', enabled: true });
  expect(receiver.events).toEqual(feed.slice(first, first + receiver.events.length));
  for (const { headers, events } of receiver.messages) {
    expect(headers['webhook-id']).toMatch(/^msg_[0-9a-f]{32}$/);
    expect(events.length).toBeLessThanOrEqual(100);
  }
  await until(async () => (await show(client, 'all')).lag_ms === 0, {
    timeoutMs: feedPatienceMs,
    what: 'it is not behind',
  });
  expect(await show(client, 'all')).toMatchObject({ failures: 0, last_status: 204, last_error: null });
  const metrics = await (await fetch(`${client.url}/metrics`)).text();
  expect(metrics).toMatch(/signalbox_webhook_deliveries_total\{webhook="all",result="delivered"\} [1-9]/);
  expect(metrics).toMatch(/signalbox_webhook_lag_seconds\{webhook="all"\} \d/);
});

test('only events of the queues and types it asked for come', async () => {
  const { client, receiver } = await setup();
  await subscribe(client, receiver, 'some', { queue_prefix: 'mine/', types: ['lease.released'] });
  await work(client, 'mine/q', ['a']);
  await work(client, 'yours/q', ['x', 'y']);
  await work(client, 'mine/q', ['b']);
  await until(() => receiver.events.length >= 2, { timeoutMs: feedPatienceMs, what: 'both have come' });
  expect(receiver.events.map(({ type, queue, claim_id: id }) => [type, queue, id])).toEqual([
    ['lease.released', 'mine/q', 'a'],
    ['lease.released', 'mine/q', 'b'],
  ]);
});

test('only events of claims with all the labels it asked for come, and none of no claim', async () => {
  const { client, receiver } = await setup();
  const labels = { tenant: 'acme', env: 'prod' };
  const made = await subscribe(client, receiver, 'labelled', { labels });
  expect(made.labels).toEqual(labels);
  const hold = async (claimId: string, of: Record<string, string>) =>
    client.release(await client.hold('q', { claim_id: claimId, labels: of }));
  await hold('none', {});
  await hold('part', { tenant: 'acme' });
  await hold('all', { ...labels, branch: 'main' });
  await hold('other', { tenant: 'other', env: 'prod' });
  await hold('last', labels);
  await until(() => receiver.claimsOf('lease.released').includes('last'), {
    timeoutMs: feedPatienceMs,
    what: 'the last has come',
  });
  expect(receiver.events.map(({ type, claim_id: claim }) => `${type} ${claim}`)).toEqual([
    'lease.granted all',
    'lease.released all',
    'lease.granted last',
    'lease.released last',
  ]);
  // What is not for it is done with all the same.
  await until(async () => (await show(client, 'labelled')).lag_ms === 0, {
    timeoutMs: feedPatienceMs,
    what: 'it is not behind',
  });
});

test('a receiver that fails gets the same message again until it takes it, and nothing is passed over', async () => {
  const { client, receiver } = await setup((_message, response, nth) => {
    if (nth === 1) response.writeHead(500).end('of no interest');
    else if (nth === 2) response.socket?.destroy();
    else response.writeHead(200).end('ok');
  });
  await subscribe(client, receiver, 'flaky', { types: ['lease.granted'] });
  await work(client, 'q', ['a', 'b']);
  const failed = await until(async () => (await show(client, 'flaky')).failures > 0 && show(client, 'flaky'), {
    what: 'the failure is shown',
  });
  expect(failed.next_attempt_at).not.toBeNull();
  await work(client, 'q', ['c']);
  await until(() => receiver.claimsOf('lease.granted').includes('c'), {
    timeoutMs: feedPatienceMs,
    what: 'all have come',
  });
  expect(receiver.claimsOf('lease.granted')).toEqual(['a', 'b', 'c']);
  const [first, second, third] = receiver.messages;
  expect([second?.body, third?.body]).toEqual([first?.body, first?.body]);
  expect(third?.headers['webhook-id']).toBe(first?.headers['webhook-id']);
  expect(receiver.forged).toEqual([]);
  await until(async () => (await show(client, 'flaky')).failures === 0, {
    timeoutMs: feedPatienceMs,
    what: 'it is well again',
  });
}, 40_000);

test('redirects are not followed', async () => {
  const other = await openReceiver();
  const { client, receiver } = await setup((_message, response) => {
    response.writeHead(307, { location: other.url }).end();
  });
  await subscribe(client, receiver, 'moved');
  await until(async () => (await show(client, 'moved')).last_status === 307, {
    timeoutMs: feedPatienceMs,
    what: 'the redirect is shown',
  });
  expect((await show(client, 'moved')).last_error).toBe('answered 307: redirects are not followed');
  expect(other.messages).toEqual([]);
});

test('410 turns it off, the feed says so, and a PUT turns it on where it was', async () => {
  const { client, receiver } = await setup((_message, response) => void response.writeHead(410).end());
  await subscribe(client, receiver, 'gone', { types: ['lease.granted'] });
  await work(client, 'q', ['a']);
  await until(async () => !(await show(client, 'gone')).enabled, { timeoutMs: feedPatienceMs, what: 'it is off' });
  expect(receiver.messages).toHaveLength(1);
  // The feed waits for transactions that others of this server have begun.
  const disabled = await until(
    async () =>
      (await client.ask<EventPage>('GET', '/v1/events?limit=1000')).body.events.find(
        ({ type }) => type === 'webhook.disabled',
      ),
    { timeoutMs: feedPatienceMs, what: 'the feed says so' },
  );
  expect(disabled).toMatchObject({
    webhook: 'gone',
    reason: 'gone',
    status: 410,
    target: new URL(receiver.url).origin,
  });
  await work(client, 'q', ['b']);
  receiver.answer = accept;
  await client.ask('PUT', '/v1/webhooks/gone', { url: receiver.url, types: ['lease.granted'] });
  await until(() => receiver.claimsOf('lease.granted').length === 2, {
    timeoutMs: feedPatienceMs,
    what: 'what was kept has come',
  });
  expect(receiver.claimsOf('lease.granted')).toEqual(['a', 'b']);
});

test('one that hangs holds up neither another nor the chores of the leader', async () => {
  const { client, receiver: hanging, database } = await setup(() => undefined);
  const quick = await openReceiver();
  await subscribe(client, hanging, 'hangs');
  await subscribe(client, quick, 'quick');
  await until(() => hanging.messages.length === 1, { timeoutMs: feedPatienceMs, what: 'one message hangs' });
  const ids = numbered('c', 10);
  await work(client, 'q', ids);
  await until(() => quick.claimsOf('lease.released').length === 10, {
    timeoutMs: feedPatienceMs,
    what: 'the other has all',
  });
  const { rows } = await database.query<{ chores: string }>('select count(*) as chores from signalbox.chores');
  expect(Number(rows[0]?.chores)).toBeGreaterThan(0);
  expect(hanging.messages).toHaveLength(1);
  await until(async () => (await show(client, 'hangs')).lag_ms > 0, {
    timeoutMs: feedPatienceMs,
    what: 'its lag is shown',
  });
});

test('a leader that stops in the middle of a delivery loses nothing, and the order stays', async () => {
  const { database, app, client, receiver } = await setup(() => undefined);
  await subscribe(client, receiver, 'all', { types: ['lease.granted'] });
  const ids = numbered('c', 30);
  await work(client, 'q', ids.slice(0, 10));
  await until(() => receiver.messages.length === 1, { timeoutMs: feedPatienceMs, what: 'a message is on its way' });
  const next = await startReplica(database);
  receiver.answer = accept;
  await app[Symbol.asyncDispose]();
  await work(next.client, 'q', ids.slice(10));
  await until(() => receiver.claimsOf('lease.granted').length === 30, {
    timeoutMs: feedPatienceMs,
    what: 'all have come',
  });
  expect(receiver.claimsOf('lease.granted')).toEqual(ids);
  expect(receiver.forged).toEqual([]);
}, 40_000);

test('a restart goes on behind what was delivered', async () => {
  const { database, app, client, receiver } = await setup();
  await subscribe(client, receiver, 'all', { types: ['lease.granted'] });
  await work(client, 'q', ['a', 'b']);
  await until(() => receiver.claimsOf('lease.granted').length === 2, {
    timeoutMs: feedPatienceMs,
    what: 'both have come',
  });
  await until(async () => (await show(client, 'all')).delivered_at !== null, {
    timeoutMs: feedPatienceMs,
    what: 'it is written down',
  });
  await app[Symbol.asyncDispose]();
  const before = receiver.messages.length;
  const next = await startReplica(database);
  await work(next.client, 'q', ['c']);
  await until(() => receiver.claimsOf('lease.granted').length === 3, {
    timeoutMs: feedPatienceMs,
    what: 'the third has come',
  });
  expect(receiver.messages.slice(before).flatMap(({ events }) => events.map(({ claim_id: id }) => id))).toEqual(['c']);
}, 40_000);

test('a receiver that was slow gets hundreds of events in pages of a hundred', async () => {
  const { client, receiver } = await setup(() => undefined);
  await subscribe(client, receiver, 'slow', { enabled: false });
  const queue = anId('q');
  const ids = numbered('c', 150);
  await Promise.all(Array.from({ length: 5 }, (_, n) => work(client, `${queue}${n}`, ids.slice(n * 30, n * 30 + 30))));
  receiver.answer = accept;
  await client.ask('PUT', '/v1/webhooks/slow', { url: receiver.url, types: ['lease.granted', 'lease.released'] });
  await until(() => receiver.events.length === 300, { timeoutMs: feedPatienceMs, what: 'all have come' });
  expect(receiver.messages.map(({ events }) => events.length).toSorted((a, b) => b - a)[0]).toBe(100);
  expect([...receiver.claimsOf('lease.granted')].sort()).toEqual([...ids].sort());
});
