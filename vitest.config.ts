import { existsSync, globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { defineConfig, type TestProjectInlineConfiguration } from 'vitest/config';
import { BaseSequencer, type TestSpecification } from 'vitest/node';
import { findPgBouncer } from './test/support/pgbouncer.ts';

// Tests start hundreds of processes of ours; what Node compiled for one (half of its start) serves the next.
process.env['NODE_COMPILE_CACHE'] ??= join(import.meta.dirname, 'node_modules/.cache/signalbox-tests');

const everywhere = (directories: string[]) => directories.map((directory) => `test/${directory}/**/*.test.ts`);

/** Tests that need a database, but not a particular server. */
const databaseTests = [
  'store',
  'queues',
  'merge-queue',
  'leadership',
  'maintenance',
  'notifier',
  'webhooks',
  'http',
  'scenario',
  'support',
];

/** Only through a pooler do these say something new. */
const aboutPooler = 'test/scenario/pooled.test.ts';

/**
 * Tests whose statements must work through a transaction pooler. Of those below queues most ask on connections of their own, which
 * are direct in every project: here they would do the same on the same server again. What uses the pooler's url is what counts.
 */
const pooledTests = [
  ...everywhere(['http', 'support']),
  ...globSync('test/queues/**/*.test.ts', { cwd: import.meta.dirname }).filter((file) =>
    /\.url\b|decision-desk/.test(readFileSync(join(import.meta.dirname, file), 'utf8')),
  ),
  // All that merge queues ask of the database is in these.
  'test/merge-queue/{rows-of-the-original,guarded-writes}.test.ts',
  'test/webhooks/{delivery,post-office}.test.ts',
  aboutPooler,
];

/** Where another server beside the one of postgres-18 would change nothing. */
const sameOnAnyServer = [
  // Whole processes on a server of their own.
  'test/store/embedded/**',
  'test/scenario/{database-outage,start-up,demo}.test.ts',
  // Minutes of load about wrappers, balancer and input checks: no statement of theirs is theirs alone.
  'test/scenario/{wrappers-under-fault,balanced-topology,bad-input-changes-nothing}.test.ts',
  // When our processes notice, wake, stop and take over. The rules, terms and notifications they rest on run on both servers.
  'test/scenario/{leader-takeover,hang-up,wake-up,taker-wake-up,graceful-stop}.test.ts',
  // The field's list told in our words: what it shows rests on the rules, which run on both servers.
  'test/scenario/concurrency-queue-*.test.ts',
  // A state machine without a database; a minute of schedules and half a minute of load, whose statements others make there too;
  // when calls wake.
  'test/merge-queue/{machine/**,long-polls.test.ts}',
  'test/scenario/merge-queue-{random,load,replicas}.test.ts',
  // How our side of a connection ends when the other side is silent.
  'test/store/connections.test.ts',
];

/**
 * For two cores. A test waits for a timer, a process or the server for about half of its time, so three at once fill them. Where
 * many start processes of their own with leases of a second or two, three at once might stall one for longer than that.
 */
const workers = { withProcesses: 2, without: 3 };

/** The same tests on another server; `tool` is what the machine must have for it. */
function project(
  name: string,
  maxWorkers: number,
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
  const globalSetup = `test/support/setup/${name}.ts`;
  return [{ test: { name, include, exclude, globalSetup, maxWorkers, sequence: { groupOrder: maxWorkers } } }];
}

/** Scenarios before the rest of their project: they are the longest, and one that starts last would run alone. */
class ScenariosFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const sorted = await super.sort(files);
    const projects = [...new Set(sorted.map(({ project }) => project.name))];
    const rank = ({ project, moduleId }: TestSpecification) =>
      2 * projects.indexOf(project.name) + (moduleId.includes('/test/scenario/') ? 0 : 1);
    return sorted.toSorted((a, b) => rank(a) - rank(b));
  }
}

export default defineConfig({
  test: {
    pool: 'forks',
    sequence: { sequencer: ScenariosFirst },
    testTimeout: 30_000,
    hookTimeout: 60_000,
    reporters: ['default'],
    projects: [
      ...project(
        'postgres-18',
        workers.withProcesses,
        ['test/**/*.test.ts'],
        ['test/demo/**', 'test/bench/**', aboutPooler],
      ),
      ...project('postgres-15', workers.without, everywhere(databaseTests), [...sameOnAnyServer, aboutPooler], {
        isThere: existsSync('/usr/lib/postgresql/15/bin/postgres'),
        name: 'postgresql-15 (Debian)',
      }),
      ...project('pgbouncer', workers.without, pooledTests, [], {
        isThere: findPgBouncer() !== undefined,
        name: 'pgbouncer',
      }),
    ],
  },
});
