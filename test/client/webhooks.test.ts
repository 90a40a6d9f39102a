import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { SignalboxClient } from '../../src/client/index.ts';
import { anId } from '../support/http-client.ts';
import { oneReplica } from '../support/one-replica.ts';
import { WebhookReceiver } from '../support/webhook-receiver.ts';
import { problem, ScriptedService } from './scripted-service.ts';

let client: SignalboxClient;
let receiver: WebhookReceiver;
let name: string;

oneReplica(({ replica }) => {
  client = new SignalboxClient({ url: replica.url });
});
beforeAll(async () => {
  receiver = await WebhookReceiver.open();
});
afterAll(async () => {
  await receiver[Symbol.asyncDispose]();
});
beforeEach(() => {
  // It goes into a path.
  name = `team/${anId('hook')}`;
});

describe('webhooks by the client', () => {
  it('are made, shown, listed, changed at a version, tried and deleted', async () => {
    const made = await client.configureWebhook(name, { url: receiver.url, types: ['lease.granted'] });
    expect(made.secret).toMatch(/^whsec_/);
    receiver.secret = made.secret;
    expect(await client.getWebhook(name)).toMatchObject({ name, url: receiver.url, types: ['lease.granted'] });
    expect((await client.listWebhooks()).map((webhook) => webhook.name)).toContain(name);
    const { version } = await client.configureWebhook(
      name,
      { url: receiver.url, enabled: false },
      { ifVersion: made.version },
    );
    const stale = client.configureWebhook(name, { url: receiver.url }, { ifVersion: made.version });
    await expect(stale).rejects.toMatchObject({ code: 'version_mismatch' });
    const tested = await client.testWebhook(name);
    expect(tested).toMatchObject({ webhook: name, delivered: true, status: 204 });
    expect(receiver.messages.at(-1)?.events).toEqual([tested.event]);
    expect(receiver.forged).toEqual([]);
    await expect(client.deleteWebhook(name, { ifVersion: made.version })).rejects.toMatchObject({
      code: 'version_mismatch',
    });
    await client.deleteWebhook(name, { ifVersion: version });
    await expect(client.getWebhook(name)).rejects.toMatchObject({ code: 'webhook_not_found' });
    await expect(client.testWebhook(name)).rejects.toMatchObject({ code: 'webhook_not_found' });
  });

  it('a test has as long as a receiver may take', async () => {
    const answer = { delivered: true };
    await using service = await ScriptedService.start(async () => {
      // Longer than a call without a receiver behind it may take.
      await sleep(400);
      return { status: 200, body: answer };
    });
    const quick = new SignalboxClient({ url: service.url, timeoutMs: 200 });
    expect(await quick.testWebhook('hook')).toEqual(answer);
  });

  it('are set once without a secret, since a repeat would not be shown the one that was made; with one again', async () => {
    const refused = () => problem(503, 'database_unavailable');
    await using service = await ScriptedService.start(refused);
    const asking = new SignalboxClient({ url: service.url, retry: { attempts: 3, firstMs: 1, maxMs: 2 } });
    const url = 'https://example.org/';
    await expect(asking.configureWebhook('hook', { url })).rejects.toMatchObject({ status: 503 });
    expect(service.asked).toHaveLength(1);
    const secret = `whsec_${Buffer.alloc(32, 7).toString('base64')}`;
    await expect(asking.configureWebhook('hook', { url, secret })).rejects.toMatchObject({ status: 503 });
    expect(service.asked).toHaveLength(4);
    await expect(asking.testWebhook('hook')).rejects.toMatchObject({ status: 503 });
    await expect(asking.deleteWebhook('hook')).rejects.toMatchObject({ status: 503 });
    expect(service.asked).toHaveLength(6);
  });
});
