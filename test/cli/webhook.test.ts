import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { SignalboxClient } from '../../src/client/index.ts';
import type { ConfiguredWebhook } from '../../src/protocol/webhooks.ts';
import type { TestDatabase } from '../support/database.ts';
import { anId } from '../support/http-client.ts';
import { oneReplica } from '../support/one-replica.ts';
import type { TestApp } from '../support/test-app.ts';
import { WebhookReceiver } from '../support/webhook-receiver.ts';
import { signalboxRun } from '../support/wrapper.ts';

let database: TestDatabase;
let app: TestApp;
let client: SignalboxClient;
let receiver: WebhookReceiver;
let name: string;

oneReplica((parts) => {
  ({ database, replica: app } = parts);
  client = new SignalboxClient({ url: app.url });
});
beforeAll(async () => {
  receiver = await WebhookReceiver.open();
});
afterAll(async () => {
  await receiver[Symbol.asyncDispose]();
});
beforeEach(() => {
  name = anId('hook');
});

const run = (...args: readonly string[]) => signalboxRun('webhook', ...args, '--url', app.url);

async function stored(): Promise<string | undefined> {
  const { rows } = await database.query<{ secret: string }>('select secret from signalbox.webhooks where name = $1', [
    name,
  ]);
  return rows[0]?.secret;
}

describe('signalbox webhook', () => {
  it('set makes one and shows its secret this once, then changes what is named alone', async () => {
    const made = await run('set', name, '--to', receiver.url, '--prefix', 'deploy/', '--types', 'lease.granted');
    expect(made.exitCode).toBe(0);
    expect(made.output.split('\n')[0]).toBe(name);
    const secret = await stored();
    expect(made.output).toContain(`${secret} (shown this once)`);
    const before = await client.getWebhook(name);
    expect(before).toMatchObject({
      url: receiver.url,
      queue_prefix: 'deploy/',
      types: ['lease.granted'],
      enabled: true,
    });
    const labelled = await run('set', name, '--label', 'tenant=acme', '--label', 'branch=a=b');
    expect(labelled.output).toMatch(/^ +labels +branch=a=b, tenant=acme$/m);
    const changed = await run('set', name, '--enabled', 'false', '--types', 'all', '--json');
    const labels = { tenant: 'acme', branch: 'a=b' };
    expect(JSON.parse(changed.output)).toMatchObject({ enabled: false, types: null, queue_prefix: 'deploy/', labels });
    expect(JSON.parse((await run('set', name, '--label', 'all', '--json')).output)).toMatchObject({ labels: null });
    expect(changed.output).not.toContain('whsec_');
    expect(await stored()).toBe(secret);
  });

  it('set takes a secret from a file, and makes another with --rotate', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'signalbox-webhook-'));
    try {
      const given = `whsec_${Buffer.alloc(32, 7).toString('base64')}`;
      await writeFile(join(folder, 'secret'), `${given}\n`);
      const set = await run('set', name, '--to', receiver.url, '--secret-file', join(folder, 'secret'));
      expect(set.output).not.toContain('whsec_');
      expect(await stored()).toBe(given);
      const { output } = await run('set', name, '--rotate', '--json');
      const { secret } = JSON.parse(output) as ConfiguredWebhook;
      expect(secret).not.toBe(given);
      expect(await stored()).toBe(secret);
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  it('set tells what it lacks with exit code 2, and 1 if another was faster; nothing changes', async () => {
    expect((await run('set', name)).exitCode).toBe(2);
    expect((await run('set', name, '--to', receiver.url, '--secret-file', '/nowhere/at/all')).exitCode).toBe(2);
    await expect(client.getWebhook(name)).rejects.toMatchObject({ code: 'webhook_not_found' });
    const { version } = await client.configureWebhook(name, { url: receiver.url });
    expect((await run('set', name, '--enabled', 'false', '--if-version', '0')).exitCode).toBe(1);
    expect((await run('delete', name, '--if-version', '0')).exitCode).toBe(1);
    expect(await client.getWebhook(name)).toMatchObject({ version, enabled: true });
  });

  it.each([
    [['--to', 'nowhere'], /option '--to <url>' argument 'nowhere' is invalid\. It must be an http or https URL\./],
    [['--to', 'http://example.org/'], /--to: it must be https, unless it is of this machine or allow_http is true/],
    [['--types', 'lease.granted,foo'], /foo is no type of event\. They are claim\.queued, /],
    [['--prefix', 'a b'], /It must be up to 200 characters of A-Z a-z 0-9/],
    [['--label', 'acme'], /It must be name=value\./],
    [['--label', `${'x'.repeat(64)}=y`], /--label: it /],
    [['--secret-file', '/etc/hostname'], /--secret-file: what it holds must be whsec_ and 24 to 64 bytes in base64/],
    [[], /nothing to set for \S+: say what with --to, --prefix, --types, --label, .* or --rotate/],
  ])('set %j is a usage error that says why, and changes nothing', async (words, told) => {
    const { version } = await client.configureWebhook(name, { url: receiver.url });
    const { exitCode, output } = await run('set', name, ...words);
    expect(output).toMatch(told);
    expect(exitCode).toBe(2);
    expect(await client.getWebhook(name)).toMatchObject({ version });
  });

  it('a name that is none is a usage error that says what names are', async () => {
    for (const bad of ['a b', '..']) {
      const { exitCode, output } = await run('set', bad, '--to', receiver.url);
      expect(output).toMatch(/is invalid for argument 'name'\. It must /);
      expect(exitCode).toBe(2);
    }
  });

  it('list shows one a line with the host alone, show the whole, delete takes it away', async () => {
    await client.configureWebhook(name, { url: receiver.url });
    const listed = await run('list');
    expect(listed.exitCode).toBe(0);
    expect(listed.output).toMatch(/^WEBHOOK +TARGET +STATE +LAG +FAILURES +LAST ATTEMPT +DELIVERED AT$/m);
    expect(listed.output).toMatch(new RegExp(`^${name} +${new URL(receiver.url).origin} +on +\\S+ +0 +- +-$`, 'm'));
    expect(listed.output).not.toContain('of-the-url');
    const { webhooks } = JSON.parse((await run('list', '--json')).output) as { webhooks: { name: string }[] };
    expect(webhooks.map((webhook) => webhook.name)).toContain(name);
    expect((await run('show', name)).output).toContain(receiver.url);
    expect(JSON.parse((await run('show', name, '--json')).output)).toMatchObject({ name, url: receiver.url });
    expect(await run('delete', name)).toEqual({ exitCode: 0, output: `deleted ${name}\n` });
    const gone = await run('show', name);
    expect(gone.exitCode).toBe(1);
    expect(gone.output).toContain(`There is no webhook ${name}.`);
  });

  it('test sends one event, signed, and tells what the receiver said: 0 if it was delivered, 1 if not', async () => {
    receiver.secret = (await client.configureWebhook(name, { url: receiver.url, enabled: false })).secret;
    const good = await run('test', name);
    expect(good.exitCode).toBe(0);
    expect(good.output).toMatch(new RegExp(`^delivered to ${name}: answered 204 \\(\\S+\\)\n$`));
    expect(receiver.messages.at(-1)?.events).toMatchObject([{ type: 'webhook.tested', webhook: name }]);
    expect(receiver.forged).toEqual([]);
    receiver.answer = (_message, response) => void response.writeHead(500).end();
    const bad = await run('test', name);
    expect(bad.exitCode).toBe(1);
    expect(bad.output).toMatch(/^not delivered to \S+: answered 500 \(\S+\)\n$/);
    const json = await run('test', name, '--json');
    expect(json.exitCode).toBe(1);
    expect(JSON.parse(json.output)).toMatchObject({ delivered: false, status: 500, event: { type: 'webhook.tested' } });
  });
});
