import { beforeEach, describe, expect, it } from 'vitest';
import type { Status } from '../../src/cli/status.ts';
import { SignalboxClient } from '../../src/client/index.ts';
import { anId } from '../support/http-client.ts';
import { oneReplica } from '../support/one-replica.ts';
import type { TestApp } from '../support/test-app.ts';
import { signalbox, signalboxRun } from '../support/wrapper.ts';

let app: TestApp;
let client: SignalboxClient;
/** As the commands take it; its base ref has a slash. */
let name: string;

oneReplica((parts) => {
  ({ replica: app } = parts);
  client = new SignalboxClient({ url: app.url });
});
beforeEach(() => {
  name = `acme/${anId('shop').replaceAll('/', '-')}/release/1.x`;
});

const run = (...args: readonly string[]) => signalboxRun(...args, '--url', app.url);

function key() {
  const [owner = '', repo = '', ...base] = name.split('/');
  return { owner, repo, base_ref: base.join('/') };
}

async function acquire(sha: string, priority: number): Promise<unknown> {
  const { owner, repo, base_ref: base } = key();
  const path = [owner, repo, base].map(encodeURIComponent).join('/');
  const response = await fetch(`${app.url}/merge-queue/${path}/acquire`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ head_sha: sha, head_ref: `gh-readonly-queue/${base}/pr-${priority}-${sha}`, priority }),
  });
  expect(response.status).toBe(200);
  return response.json();
}

/** aaa1 of priority 3 has the lease, bbb2 of priority 2 waits. */
async function aHeldQueue(): Promise<void> {
  await client.configureMergeQueue(key(), { expected_count: 2, ttl_ms: 200_000 });
  await acquire('bbb2', 2);
  await acquire('aaa1', 3);
}

describe('signalbox merge-queue', () => {
  it('set makes one with what is named and the defaults for the rest, then changes what is named alone', async () => {
    const { exitCode, output } = await run(
      ...['merge-queue', 'set', name, '--ttl', '90s', '--window', '0s', '--expected', '3', '--delay', '1'],
      ...['--hold-ttl', '2h', '--success-completes', 'contained', '--require-token', 'true'],
      ...['--refused-acquire-updates', 'false'],
    );
    expect(exitCode).toBe(0);
    expect(output.split('\n')[0]).toBe(name);
    expect(output).toMatch(/^ {2}ttl +1m 30s$/m);
    expect(output).toMatch(/^ {2}version +1$/m);
    const made = await client.getMergeQueue(key());
    expect(made).toMatchObject({
      ttl_ms: 90_000,
      stabilisation_ms: 0,
      expected_count: 3,
      delay_count: 1,
      hold_ttl_ms: 7_200_000,
      success_completes: 'contained',
      require_token: true,
      refused_acquire_updates: false,
    });
    const { output: json } = await run('merge-queue', 'set', name, '--hold-ttl', 'default', '--json');
    expect(JSON.parse(json)).toMatchObject({ hold_ttl_ms: null, ttl_ms: 90_000, version: 2 });
  });

  it('set with --if-version changes nothing if another was faster: exit 1', async () => {
    await client.configureMergeQueue(key(), {});
    const { exitCode, output } = await run('merge-queue', 'set', name, '--ttl', '1s', '--if-version', '0');
    expect(exitCode).toBe(1);
    expect(output).toContain('signalbox: ');
    expect((await client.getMergeQueue(key())).version).toBe(1);
  });

  it('show tells the settings, who has the lease until when, and why the others wait', async () => {
    await aHeldQueue();
    await acquire('ccc3', 1).catch(() => undefined);
    const { exitCode, output } = await run('merge-queue', 'show', name);
    expect(exitCode).toBe(0);
    expect(output).toMatch(/^ {2}mode +held$/m);
    expect(output).toMatch(/^ {2}hold ttl +33m 20s \(10 times the ttl\)$/m);
    expect(output).toMatch(
      /^ {2}holder +aaa1 +gh-readonly-queue\/\S+ +priority 3 +(33m \d+s|33m) left +held \S+, token \d+$/m,
    );
    expect(output).toMatch(/^ {2}position 1 +bbb2 +\S+ +priority 2 +held +waits \S+, heard at \S+Z$/m);
    expect(JSON.parse((await run('merge-queue', 'show', name, '--json')).output)).toMatchObject({
      mode: 'held',
      requests: [{ head_sha: 'aaa1' }, { head_sha: 'bbb2' }],
    });
    // By the name that views and events have, too.
    expect((await run('merge-queue', 'show', `merge-queue/${name}`)).output).toContain(`${name}\n`);
  });

  it('show of one that waits for its window says how long', async () => {
    await client.configureMergeQueue(key(), { stabilisation_ms: 600_000, expected_count: 9 });
    await acquire('aaa1', 1);
    expect((await run('merge-queue', 'show', name)).output).toMatch(
      /^ {2}position 1 +aaa1 .* stabilisation, 9m \d+s left +waits /m,
    );
  });

  it('list shows one a line; --prefix is that of the names, and there may be none', async () => {
    await aHeldQueue();
    const { exitCode, output } = await run('merge-queue', 'list', '--prefix', name);
    expect(exitCode).toBe(0);
    expect(output).toMatch(/^MERGE QUEUE +MODE +HOLDER +HELD +PENDING +OLDEST WAIT +WINDOW LEFT$/m);
    expect(output).toMatch(new RegExp(`^${name} +held +aaa1 +\\S+ +1 +\\S+ +-$`, 'm'));
    const { output: json } = await run('merge-queue', 'list', '--prefix', `merge-queue/${name}`, '--json');
    expect(JSON.parse(json)).toMatchObject({ more: false, merge_queues: [{ queue: `merge-queue/${name}` }] });
    expect((await run('merge-queue', 'list', '--prefix', 'nobody/')).output).toBe('no merge queues\n');
  });

  it('clear sets a held one free and says how many builds were forgotten', async () => {
    await aHeldQueue();
    expect(await run('merge-queue', 'clear', name)).toEqual({ exitCode: 0, output: `cleared ${name}: 2 builds\n` });
    expect(await client.getMergeQueue(key())).toMatchObject({ mode: 'open', requests: [] });
  });

  it('delete takes an empty one, and one with builds only by --force', async () => {
    await aHeldQueue();
    const { exitCode } = await run('merge-queue', 'delete', name);
    expect(exitCode).toBe(1);
    expect(await run('merge-queue', 'delete', name, '--force')).toEqual({ exitCode: 0, output: `deleted ${name}\n` });
    expect((await run('merge-queue', 'show', name)).exitCode).toBe(1);
  });

  it('exits with 1 for one that is not there, and clear makes none', async () => {
    for (const verb of ['show', 'clear', 'delete']) expect((await run('merge-queue', verb, name)).exitCode).toBe(1);
    expect((await client.listMergeQueues({ prefix: `merge-queue/${name}` })).merge_queues).toEqual([]);
  });

  it.each([
    [['show', 'acme/shop']],
    [['show', 'a b/c/d']],
    [['set', 'a/b/c', '--ttl', '0s']],
    [['set', 'a/b/c', '--require-token', 'yes']],
  ])('with %j is not usable: exit 2', async (args) => {
    expect((await run('merge-queue', ...args)).exitCode).toBe(2);
  });

  it('exits with 123 when nothing answers', async () => {
    await using command = await signalbox(['merge-queue', 'list', '--url', 'http://127.0.0.1:9']);
    expect(await command.ended).toMatchObject({ exitCode: 123 });
  });
});

describe('signalbox status', () => {
  it('shows merge queues behind the queues, and the builds of those that have some', async () => {
    await aHeldQueue();
    const { exitCode, output } = await run('status', '--prefix', `merge-queue/${name}`);
    expect(exitCode).toBe(0);
    expect(output).toMatch(new RegExp(`^${name} +held +aaa1 `, 'm'));
    expect(output).toMatch(/^ {2}holder +aaa1 /m);
    expect(output).toMatch(/^ {2}position 1 +bbb2 /m);
    expect(output).not.toContain('no queues');
  });

  it('shows one asked for by the name of its events, and --json has them in the words of the HTTP interface', async () => {
    await aHeldQueue();
    const { exitCode, output } = await run('status', `merge-queue/${name}`, '--json');
    expect(exitCode).toBe(0);
    expect(JSON.parse(output) as Status).toMatchObject({
      queues: [],
      merge_queues: [{ queue: `merge-queue/${name}`, mode: 'held', requests: [{}, {}] }],
      missing: [],
    });
    expect((await run('status', 'merge-queue/no/such/one')).output).toContain(
      'there is no queue merge-queue/no/such/one',
    );
  });
});
