import { EventEmitter, once } from 'node:events';
import pg from 'pg';
import { startTally, untilNoneRemains } from './drain.ts';
import { makeOwnDatabase } from './own-database.ts';
import { importPeerPackage } from './packages.ts';
import type { QueuePeer } from './peer.ts';

/** As much of graphile-worker as is used here. */
interface GraphileWorker {
  readonly Logger: new (factory: () => (level: string, message: string) => void) => object;
  run(options: RunOptions): Promise<{ stop(): Promise<void> }>;
  makeWorkerUtils(options: Pick<RunOptions, 'preset' | 'pgPool'>): Promise<{
    migrate(): Promise<void>;
    addJobs(jobs: readonly { readonly identifier: string; readonly payload: object }[]): Promise<unknown>;
    release(): Promise<void>;
  }>;
}

interface RunOptions {
  readonly pgPool: pg.Pool;
  readonly preset: { readonly worker: WorkerOptions & { readonly logger: object; readonly events: EventEmitter } };
  readonly taskList: Readonly<Record<string, () => void>>;
  readonly parsedCronItems: readonly [];
  readonly noHandleSignals: boolean;
}

interface WorkerOptions {
  readonly concurrentJobs: number;
  readonly localQueue?: { readonly size: number };
  readonly completeJobBatchDelay?: number;
}

/** Each job claimed and completed by statements of its own, 10 at once. */
export function openGraphileDefault(databaseUrl: string): Promise<QueuePeer | undefined> {
  return openGraphile(databaseUrl, 'graphile_default', { concurrentJobs: 10 });
}

/** 500 jobs claimed by one statement, and completed together with whatever else is done by then; 24 at once. */
export function openGraphileBest(databaseUrl: string): Promise<QueuePeer | undefined> {
  const options = { concurrentJobs: 24, localQueue: { size: 500 }, completeJobBatchDelay: 0 };
  return openGraphile(databaseUrl, 'graphile_best', options);
}

async function openGraphile(
  databaseUrl: string,
  name: string,
  workerOptions: WorkerOptions,
): Promise<QueuePeer | undefined> {
  const library = await importPeerPackage<GraphileWorker>('graphile-worker');
  if (library === undefined) return undefined;
  await using opened = new AsyncDisposableStack();
  const database = opened.use(await makeOwnDatabase(databaseUrl, `bench_${name}`));
  // Two more than jobs at once, as its documentation recommends. Its connections stay open between the runs.
  const connections = workerOptions.concurrentJobs + 2;
  const pgPool = new pg.Pool({ connectionString: database.url, max: connections, idleTimeoutMillis: 0 });
  opened.defer(() => pgPool.end());
  const report = (error: Error) => process.stderr.write(`${name}: ${error.message}\n`);
  pgPool.on('error', report).on('connect', (client) => client.on('error', report));
  // It logs a line a job; only what goes wrong matters here.
  const logger = new library.Logger(() => (level, message) => {
    if (level === 'error') process.stderr.write(`${name}: ${message}\n`);
  });
  const preset = (events: EventEmitter) => ({ worker: { ...workerOptions, logger, events } });
  const utils = await library.makeWorkerUtils({ pgPool, preset: preset(new EventEmitter()) });
  opened.defer(() => utils.release());
  await utils.migrate();

  const kept = opened.move();
  return {
    name,
    claimAndComplete: async (jobs) => {
      for (let at = 0; at < jobs; at += 500) {
        const batch = Array.from({ length: Math.min(500, jobs - at) }, () => ({ identifier: 'no_op', payload: {} }));
        await utils.addJobs(batch);
      }
      await database.query('vacuum analyze graphile_worker._private_jobs');
      await Promise.all(Array.from({ length: connections }, () => pgPool.query('select pg_sleep(0.02)')));

      const tally = startTally(jobs);
      const events = new EventEmitter();
      const started = once(events, 'worker:getJob:start').then(() => performance.now());
      const runner = await library.run({
        pgPool,
        preset: preset(events),
        taskList: { no_op: () => tally.count(1) },
        parsedCronItems: [],
        noHandleSignals: true,
      });
      try {
        const startedAtMs = await started;
        await tally.all();
        await untilNoneRemains(async () => {
          const [row] = await database.query('select from graphile_worker._private_jobs limit 1');
          return row !== undefined;
        });
        return { perSecond: jobs / ((performance.now() - startedAtMs) / 1000) };
      } finally {
        await runner.stop();
      }
    },
    close: () => kept.disposeAsync(),
  };
}
