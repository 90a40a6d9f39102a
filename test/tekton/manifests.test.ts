import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { asked, told } from '../../src/tekton/annotations.ts';
import { readDemand } from '../../src/tekton/demand.ts';
import { lifeOf, readRun } from '../../src/tekton/pipeline-run.ts';

const folder = join(import.meta.dirname, '../../deploy/tekton');
async function documents(name: string): Promise<readonly Record<string, unknown>[]> {
  const parsed = parseAllDocuments(await readFile(join(folder, name), 'utf8'));
  return parsed.map((document) => document.toJS() as Record<string, unknown>);
}

describe('deploy/tekton', () => {
  it('allows what the gate calls, and nothing else', async () => {
    const role = (await documents('rbac.yaml')).find(({ kind }) => kind === 'ClusterRole');
    expect(role?.['rules']).toEqual([
      { apiGroups: ['tekton.dev'], resources: ['pipelineruns'], verbs: ['get', 'list', 'watch', 'patch'] },
      { apiGroups: [''], resources: ['events'], verbs: ['create'] },
    ]);
  });

  it('runs two gates under that account, unprivileged', async () => {
    const [deployment] = await documents('deployment.yaml');
    expect(deployment).toMatchObject({
      spec: {
        replicas: 2,
        template: {
          spec: {
            serviceAccountName: 'signalbox-tekton',
            containers: [{ securityContext: { runAsNonRoot: true, readOnlyRootFilesystem: true } }],
          },
        },
      },
    });
  });

  it('shows a run that waits, with annotations that the gate reads', async () => {
    const [example] = await documents('example-run.yaml');
    const metadata = {
      ...(example?.['metadata'] as object),
      namespace: 'ci',
      name: 'build-1',
      uid: 'u',
      resourceVersion: '1',
    };
    const run = readRun({ ...example, metadata });
    if (run === undefined) throw new Error('it is no run');
    expect(lifeOf(run)).toBe('pending');
    expect(readDemand(run, { queuePrefix: '', ttlMs: 1 })).toEqual({
      kind: 'demand',
      demand: { queue: 'acme/shop', priority: 0, ttlMs: 60_000, onLeaseLost: 'keep' },
    });
  });

  it('every annotation is under one prefix', () => {
    for (const name of [...Object.values(asked), ...Object.values(told)])
      expect(name).toMatch(/^signalbox\.dev\/[a-z-]+$/);
  });
});
