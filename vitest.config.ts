import { existsSync } from 'node:fs';
import { defineConfig, type TestProjectInlineConfiguration } from 'vitest/config';
import { findPgBouncer } from './test/support/pgbouncer.ts';

/** Tests that need a database, but not a particular server. */
const databaseTests = ['store', 'queues', 'leadership', 'maintenance', 'notifier', 'http', 'scenario', 'support'];
/** Tests whose statements must work through a transaction pooler. */
const pooledTests = ['queues', 'http', 'support'];

/** Whole processes on a server of their own: another server beside it would change nothing. */
const ownServer = [
  'test/store/embedded/**',
  'test/scenario/{database-outage,start-up,demo}.test.ts',
  // Minutes of load about wrappers, balancer and input checks: no statement of theirs is theirs alone.
  'test/scenario/{wrappers-under-fault,balanced-topology,bad-input-changes-nothing}.test.ts',
];

const everywhere = (directories: string[]) => directories.map((directory) => `test/${directory}/**/*.test.ts`);

/** The same tests on another server; `tool` is what the machine must have for it. */
function project(
  name: string,
  include: string[],
  exclude: string[],
  tool?: { isThere: boolean; name: string },
): TestProjectInlineConfiguration[] {
  if (tool?.isThere === false) {
    const message = `project ${name} is left out: ${tool.name} is not installed`;
    if (process.env['REQUIRE_ALL'] === '1') throw new Error(message);
    process.stderr.write(`${message}\n`);
    return [];
  }
  return [{ test: { name, include, exclude, globalSetup: `test/support/setup/${name}.ts` } }];
}

export default defineConfig({
  test: {
    pool: 'forks',
    // Two cores, and a server beside each worker.
    maxWorkers: 2,
    testTimeout: 30_000,
    hookTimeout: 60_000,
    reporters: ['default'],
    projects: [
      ...project('postgres-18', ['test/**/*.test.ts'], ['test/demo/**', 'test/bench/**']),
      ...project('postgres-15', everywhere(databaseTests), ownServer, {
        isThere: existsSync('/usr/lib/postgresql/15/bin/postgres'),
        name: 'postgresql-15 (Debian)',
      }),
      ...project('pgbouncer', [...everywhere(pooledTests), 'test/scenario/pooled.test.ts'], [], {
        isThere: findPgBouncer() !== undefined,
        name: 'pgbouncer',
      }),
    ],
  },
});
