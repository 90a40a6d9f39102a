import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ScriptedService } from '../client/scripted-service.ts';
import { BackgroundProcess } from '../support/background-process.ts';
import { GateBench } from '../support/kubernetes-api/gate-bench.ts';
import { oneService } from '../support/kubernetes-api/one-service.ts';
import type { TestApp } from '../support/test-app.ts';

const program = join(import.meta.dirname, '../../src/main.ts');

let replica: TestApp;
oneService((service) => (replica = service));

let directory: string;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'signalbox-tekton-'));
});
afterAll(() => rm(directory, { recursive: true }));

async function kubeconfigFor(server: string): Promise<string> {
  const file = join(directory, 'kubeconfig');
  const config = {
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [
      {
        name: 'here', // The stand-in speaks plain HTTP, which the client library allows with this only.
        cluster: { server, 'insecure-skip-tls-verify': true },
      },
    ],
    users: [{ name: 'gate', user: { token: 'gate' } }],
    contexts: [{ name: 'here', context: { cluster: 'here', user: 'gate' } }],
    'current-context': 'here',
  };
  await writeFile(file, JSON.stringify(config));
  return file;
}
const start = (url: string, ...args: readonly string[]) =>
  BackgroundProcess.node(program, ['tekton', ...args], {
    cwd: directory,
    env: { SIGNALBOX_URL: url, KUBECONFIG: undefined, HOME: directory },
  });

describe('signalbox tekton', () => {
  it('starts the runs of a cluster; killed with -9, another one goes on; ends with 0 after TERM, and keeps the leases', async () => {
    await using bench = await GateBench.start(replica.url);
    bench.runs('a', 'b', 'c');
    const kubeconfig = await kubeconfigFor(bench.api.url);
    const args = ['--kubeconfig', kubeconfig, '--poll', '100ms', '--ttl', '10s', '--namespace', 'ci'];
    await using first = await start(replica.url, ...args);
    await bench.untilNoted('c', 'position', '2');
    await first.kill();
    bench.tekton.finish('a');
    await using second = await start(replica.url, ...args);
    await bench.untilGoing('b');
    const { exitCode } = await second.terminate();
    expect(exitCode).toBe(0);
    expect(second.output).toContain('leases are kept for the next gate');
    expect((await replica.client.queue(bench.queue)).body).toMatchObject({ held: 1, waiting: 1 });
    expect(bench.tekton.peak()).toBe(1);
  });

  it.each([
    ['a kubeconfig that is not there', ['--kubeconfig', '/nowhere/kubeconfig'], /kubeconfig is not usable/],
    ['a namespace that is none', ['--namespace', 'No!'], /must be a namespace/],
    ['a prefix that no queue can have', ['--queue-prefix', 'a b'], /--queue-prefix/],
  ] as const)('%s is not usable: exit 2', async (_, args, message) => {
    await using child = await start(replica.url, ...args);
    const { exitCode } = await child.ended;
    expect(child.output).toMatch(message);
    expect(exitCode).toBe(2);
  });

  it('a token that the service refuses ends it with 123', async () => {
    await using bench = await GateBench.start(replica.url);
    await using service = await ScriptedService.start(() => ({
      status: 401,
      body: { type: 'about:blank', title: 'no', status: 401, code: 'unauthenticated', detail: 'no such token' },
    }));
    await using child = await start(service.url, '--kubeconfig', await kubeconfigFor(bench.api.url));
    const { exitCode } = await child.ended;
    expect(child.output).toContain('no such token');
    expect(exitCode).toBe(123);
  });

  it('the other commands load nothing of Kubernetes', async () => {
    await using child = await BackgroundProcess.node(program, ['status', '--json'], {
      cwd: directory,
      env: { SIGNALBOX_URL: replica.url, NODE_DEBUG: 'esm' },
    });
    expect((await child.ended).exitCode).toBe(0);
    expect(child.output).toContain('node_modules/commander');
    expect(child.output).not.toContain('node_modules/@kubernetes');
  });
});
