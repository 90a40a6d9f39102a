import { mkdtemp, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, it, vi } from 'vitest';
import { loadKubeConfig } from '../../src/tekton/kubernetes/connect.ts';

afterEach(() => vi.unstubAllEnvs());

it('without a kubeconfig and outside of a pod there is no cluster, rather than a port of this machine', async () => {
  vi.stubEnv('HOME', await mkdtemp(join(tmpdir(), 'signalbox-home-')));
  vi.stubEnv('KUBECONFIG', undefined);
  await expect(loadKubeConfig({})).rejects.toThrow('there is no kubeconfig');
});

it('names the context that the kubeconfig does not have', async () => {
  const file = join(await mkdtemp(join(tmpdir(), 'signalbox-kube-')), 'config');
  const config = {
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name: 'c', cluster: { server: 'https://127.0.0.1:1' } }],
    users: [{ name: 'u', user: {} }],
    contexts: [{ name: 'here', context: { cluster: 'c', user: 'u' } }],
    'current-context': 'here',
  };
  await writeFile(file, JSON.stringify(config));
  await expect(loadKubeConfig({ kubeconfig: file, context: 'there' })).rejects.toThrow('has no context there');
  expect((await loadKubeConfig({ kubeconfig: file, context: 'here' })).getCurrentContext()).toBe('here');
});
