import { startTally, untilNoneRemains } from './drain.ts';
import { makeOwnDatabase, type OwnDatabase } from './own-database.ts';
import { importPeerPackage } from './packages.ts';
import type { QueuePeer } from './peer.ts';

interface Job {
  readonly id: string;
}

/** As much of pg-boss as is used here. */
interface PgBoss {
  on(event: 'error' | 'warning', listener: (what: { readonly message: string }) => void): unknown;
  start(): Promise<unknown>;
  stop(options: { graceful: boolean }): Promise<void>;
  createQueue(queue: string, options: { notify: boolean }): Promise<void>;
  deleteAllJobs(queue: string): Promise<void>;
  insert(queue: string, jobs: readonly { readonly data: object }[]): Promise<unknown>;
  fetch(queue: string): Promise<readonly Job[]>;
  complete(queue: string, id: string): Promise<unknown>;
  work(queue: string, options: WorkOptions, handler: (jobs: readonly Job[]) => Promise<void>): Promise<unknown>;
  offWork(queue: string, options: { wait: boolean }): Promise<void>;
  getDb(): { executeSql(sql: string): Promise<unknown> };
}

interface WorkOptions {
  readonly batchSize: number;
  readonly burstWhenBatchFull: boolean;
  readonly localConcurrency: number;
}

interface PgBossLibrary {
  readonly PgBoss: new (options: {
    readonly connectionString: string;
    readonly max: number;
    readonly useListenNotify: boolean;
    readonly supervise: boolean;
    readonly schedule: boolean;
  }) => PgBoss;
}

const queue = 'no-op';
/** Its default. */
const connections = 10;

/** Resolves when all of the queue's jobs have been completed. */
type Processing = (boss: PgBoss, database: OwnDatabase, jobs: number) => Promise<void>;

/** fetch one, complete it, and again: 10 loops at once. */
export function openPgBossLoop(databaseUrl: string): Promise<QueuePeer | undefined> {
  return openPgBoss(databaseUrl, 'pgboss_loop', false, async (boss) => {
    const loop = async () => {
      for (;;) {
        const [job] = await boss.fetch(queue);
        if (job === undefined) return;
        await boss.complete(queue, job.id);
      }
    };
    await Promise.all(Array.from({ length: 10 }, loop));
  });
}

/** Four workers that fetch and complete batches of 500, and fetch again at once while batches come full; woken by NOTIFY. */
export function openPgBossBest(databaseUrl: string): Promise<QueuePeer | undefined> {
  return openPgBoss(databaseUrl, 'pgboss_best', true, async (boss, database, jobs) => {
    const tally = startTally(jobs);
    const options = { batchSize: 500, burstWhenBatchFull: true, localConcurrency: 4 };
    await boss.work(queue, options, async (batch) => tally.count(batch.length));
    try {
      await tally.all();
      await untilNoneRemains(async () => (await countOpen(database)) > 0);
    } finally {
      await boss.offWork(queue, { wait: true });
    }
  });
}

async function openPgBoss(
  databaseUrl: string,
  name: string,
  notify: boolean,
  processAll: Processing,
): Promise<QueuePeer | undefined> {
  const library = await importPeerPackage<PgBossLibrary>('pg-boss');
  if (library === undefined) return undefined;
  await using opened = new AsyncDisposableStack();
  const database = opened.use(await makeOwnDatabase(databaseUrl, `bench_${name}`));
  const boss = new library.PgBoss({
    connectionString: database.url,
    max: connections,
    useListenNotify: notify,
    // Its services by the minute would only be in the way of whatever else is measured then.
    supervise: false,
    schedule: false,
  });
  for (const event of ['error', 'warning'] as const)
    boss.on(event, ({ message }) => process.stderr.write(`${name}: ${message}\n`));
  await boss.start();
  opened.defer(() => boss.stop({ graceful: false }));
  await boss.createQueue(queue, { notify });

  const kept = opened.move();
  return {
    name,
    claimAndComplete: async (jobs) => {
      // It keeps completed jobs for days.
      await boss.deleteAllJobs(queue);
      for (let at = 0; at < jobs; at += 500)
        await boss.insert(
          queue,
          Array.from({ length: Math.min(500, jobs - at) }, () => ({ data: {} })),
        );
      await database.query('vacuum analyze');
      const openConnections = Array.from({ length: connections }, () =>
        boss.getDb().executeSql('select pg_sleep(0.02)'),
      );
      await Promise.all(openConnections);

      const startedAtMs = performance.now();
      await processAll(boss, database, jobs);
      const seconds = (performance.now() - startedAtMs) / 1000;
      const left = await countOpen(database);
      if (left > 0) throw new Error(`${name}: ${left} of ${jobs} jobs are not completed`);
      return { perSecond: jobs / seconds };
    },
    close: () => kept.disposeAsync(),
  };
}

async function countOpen(database: OwnDatabase): Promise<number> {
  const sql = `select count(*)::int as jobs from pgboss.job where name = $1 and state < 'completed'`;
  const [row] = await database.query<{ jobs: number }>(sql, [queue]);
  return row?.jobs ?? NaN;
}
