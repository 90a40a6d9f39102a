import { existsSync, globSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { defineConfig, type TestProjectInlineConfiguration } from 'vitest/config';
import { BaseSequencer, type TestSpecification } from 'vitest/node';
import { findPgBouncer } from './test/support/pgbouncer.ts';

// Tests start hundreds of processes of ours; what Node compiled for one (half of its start) serves the next.
process.env['NODE_COMPILE_CACHE'] ??= join(import.meta.dirname, 'node_modules/.cache/signalbox-tests');

const everywhere = (directories: string[]) => directories.map((directory) => `test/${directory}/**/*.test.ts`);

/**
 * Which file runs where. CI has two cores and 20 minutes, so the first question to each file is what another server would add.
 *
 * - `postgres-18` runs all that there is (but what is about the pooler). Who tries a single file tries it here.
 * - `postgres-15` runs again what the oldest server could answer otherwise: all that is about rows, locks, plans and notifications
 *   (queues, store, leadership, maintenance, notifier, merge queue), the routes whose statements are theirs alone, and of the
 *   scenarios those that are about who gets what.
 * - `pgbouncer` (PostgreSQL 18 behind it) runs again what uses the pooler's url, and every route once: a statement that needs a
 *   session would fail there.
 *
 * So each statement meets both servers and the pooler, over HTTP too; what is about our side of the wire (input, limits, waiting,
 * processes) runs once.
 */
const onTheOldestServer = [
  ...everywhere([
    'store',
    'queues',
    'merge-queue',
    'leadership',
    'maintenance',
    'notifier',
    'webhooks',
    'http',
    'support',
  ]),
  // Whole replicas at work, for who gets what. The other scenarios are about our processes, clients and balancers: when they
  // notice, wake, stop and take over. The rules, terms and notifications they rest on run on both servers.
  'test/scenario/{over-admission,many-queues,replica-killed,take-repeats,merge-queue-rows}.test.ts',
];

/** Only through a pooler do these say something new. */
const aboutPooler = 'test/scenario/pooled.test.ts';

/** Below http: input, limits of connections, words of answers. Most of these ask a server without a database. */
const aboutTheWire = [
  'test/http/server-*.test.ts',
  'test/http/{member-text,merge-queue-bad-input,merge-queue-errors,merge-queue-wire,tokens-secrets}.test.ts',
  // Waits for deadlines that the rules of queues are tested for on every server.
  'test/http/contract-silence.test.ts',
  // The stream asks what contract-events asks.
  'test/http/event-stream.test.ts',
];

/**
 * Tests whose statements must work through a transaction pooler. Of those below queues most ask on connections of their own, which
 * are direct in every project: here they would do the same on the same server again. What uses the pooler's url is what counts.
 */
const throughThePooler = [
  ...everywhere(['http', 'support']),
  ...globSync('test/queues/**/*.test.ts', { cwd: import.meta.dirname }).filter((file) =>
    /\.url\b|decision-desk/.test(readFileSync(join(import.meta.dirname, file), 'utf8')),
  ),
  // All that merge queues ask of the database is in these.
  'test/merge-queue/{rows-of-the-original,guarded-writes}.test.ts',
  'test/webhooks/delivery.test.ts',
  aboutPooler,
];

const notThroughThePooler = [
  ...aboutTheWire,
  // Waiting and comparing: the calls are those of contract-{acquire,runs,batch}.
  'test/http/contract-{long-polls,retries,batch-twins,service}.test.ts',
  'test/http/merge-queue-metrics.test.ts',
  // Without a database.
  'test/queues/decision-turns.test.ts',
];

/** Where the oldest server would change nothing. */
const notOnTheOldestServer = [
  ...aboutTheWire,
  // How tokens reach a replica; that they are read and written is in the other tests of tokens.
  'test/http/tokens-changes.test.ts',
  // The posting; what is posted when, the post office knows.
  'test/webhooks/delivery.test.ts',
  // Without a database.
  'test/queues/{answers,batcher,decision-turns,queue-turns}.test.ts',
  'test/notifier/{messages,taker-room,waiting-room}.test.ts',
  'test/leadership/{term-runner,term-timing,trust-window}.test.ts',
  // Whole processes on a server of their own.
  'test/store/embedded/**',
  // A state machine without a database; when calls wake.
  'test/merge-queue/{machine/**,long-polls.test.ts}',
  // How our side of a connection ends when the other side is silent.
  'test/store/connections.test.ts',
];

/** For two cores. A test waits for a timer, a process or the server for more than half of its time, so three at once fill them. */
const maxWorkers = 3;

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
  const globalSetup = `test/support/setup/${name}.ts`;
  return [{ test: { name, include, exclude, globalSetup, provide: { isRepeat: name !== 'postgres-18' } } }];
}

/** Of the scenarios that take much longer than the others. */
const scenarioSeconds: Readonly<Record<string, number>> = {
  'wrappers-under-fault': 95,
  'over-admission': 75,
  'balanced-topology': 35,
  'merge-queue-random': 30,
  'merge-queue-load': 30,
  'streams-under-fault': 30,
  demo: 25,
};

/**
 * Scenarios are the longest, start many processes and measure windows of a second: several at once would stall each other, and one
 * that starts last would run alone. So they are spread among the others by their length, all but the last part of the run.
 */
class SpreadScenarios extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const sorted = await super.sort(files);
    const secondsOf = ({ moduleId }: TestSpecification) => scenarioSeconds[basename(moduleId, '.test.ts')] ?? 12;
    const scenarios = sorted
      .filter(({ moduleId }) => moduleId.includes('/test/scenario/'))
      .toSorted((a, b) => secondsOf(b) - secondsOf(a));
    const others = sorted.filter((file) => !scenarios.includes(file));
    const total = scenarios.reduce((sum, file) => sum + secondsOf(file), 0);
    const places = new Map<TestSpecification, number>();
    others.forEach((file, index) => places.set(file, index));
    let before = 0;
    for (const file of scenarios) {
      places.set(file, Math.floor((0.9 * others.length * before) / total) - 0.5);
      before += secondsOf(file);
    }
    return sorted.toSorted((a, b) => (places.get(a) ?? 0) - (places.get(b) ?? 0));
  }
}

export default defineConfig({
  test: {
    pool: 'forks',
    sequence: { sequencer: SpreadScenarios },
    testTimeout: 30_000,
    hookTimeout: 60_000,
    reporters: ['default'],
    maxWorkers,
    projects: [
      ...project('postgres-18', ['test/**/*.test.ts'], ['test/demo/**', 'test/bench/**', aboutPooler]),
      ...project('postgres-15', onTheOldestServer, notOnTheOldestServer, {
        isThere: existsSync('/usr/lib/postgresql/15/bin/postgres'),
        name: 'postgresql-15 (Debian)',
      }),
      ...project('pgbouncer', throughThePooler, notThroughThePooler, {
        isThere: findPgBouncer() !== undefined,
        name: 'pgbouncer',
      }),
    ],
  },
});
