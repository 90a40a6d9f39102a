import { setTimeout as sleep } from 'node:timers/promises';
import type pg from 'pg';
import { until } from '../../support/until.ts';
import { acquirePath, openClients } from '../clients.ts';
import { startSignalbox } from '../contenders/http-contender.ts';
import { residentBytes } from '../process-cpu.ts';
import type { Measure } from '../rig.ts';

const queues = 50;
const queueOf = (n: number) => `polled-${n % queues}`;
/** Longer than it takes to join and to watch. */
const waitMs = 60_000;

/** What clients cost that do nothing but wait: on 50 queues whose one place is held all the time. */
export const longPolls: Measure = {
  name: 'long-polls',
  run: async (rig, scope) => {
    const [waiters, watchMs] = rig.extent.isQuick ? [1000, 10_000] : [5000, 20_000];
    const server = await startSignalbox(rig, scope);
    const database = await rig.connect(server.databaseUrl, scope);
    const [pid = NaN] = server.pids;
    using clients = openClients(server.urls, waiters);
    for (let n = 0; n < queues; n++)
      await clients.post(n, acquirePath(queueOf(n)), { holder: 'holder', ttl_ms: 300_000 });

    const idleBytes = residentBytes(pid);
    const idle = await watch(database, watchMs);
    const answered = Array.from({ length: waiters }, async (_, client) => {
      await clients.ask(client, acquirePath(queueOf(client)), { holder: `client-${client}`, wait_ms: waitMs });
      throw new Error('a waiter was answered before all was measured');
    });
    const waitTogether = Promise.race(answered);
    // The waiters are hung up on at the end; nobody waits for their answers then.
    for (const answer of answered) answer.catch(() => undefined);
    const allWait = until(async () => (await countWaiting(database)) === waiters, {
      what: `${waiters} claims wait`,
      timeoutMs: 30_000,
    });
    await Promise.race([allWait, waitTogether]);
    const waiting = await Promise.race([watch(database, watchMs), waitTogether]);

    const add = (measure: string, unit: string, value: number) => {
      if (Number.isFinite(value)) rig.results.add(measure, 'signalbox', unit, value);
    };
    add('idle_connections', 'connections', idle.connections);
    add('idle_queries', 'queries/s', idle.queriesPerSecond);
    add('waiters', 'clients', waiters);
    add('waiters_connections', 'connections more', Math.max(0, waiting.connections - idle.connections));
    add('waiters_queries', 'queries/s more', Math.max(0, waiting.queriesPerSecond - idle.queriesPerSecond));
    add('waiters_memory', 'kB/waiter', (residentBytes(pid) - idleBytes) / waiters / 1024);
  },
};

async function countWaiting(database: pg.Client): Promise<number> {
  const { rows } = await database.query<{ waiting: number }>(
    `select sum(waiting)::int as waiting from signalbox_v1.queues where queue like 'polled-%'`,
  );
  return rows[0]?.waiting ?? 0;
}

interface Watched {
  /** Those that ran a statement in the time watched; what only lies in a pool is not counted. */
  readonly connections: number;
  readonly queriesPerSecond: number;
}

/** A statement of a replica is a transaction; only the two of this connection that look are not its. */
async function watch(database: pg.Client, watchMs: number): Promise<Watched> {
  // A backend writes its counts down with the first transaction that ends a second after the last time it did.
  await sleep(1500);
  const before = await transactions(database);
  await sleep(watchMs);
  const after = await transactions(database);
  const { rows } = await database.query<{ connections: number }>(
    `select count(*)::int as connections from pg_stat_activity
     where datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend'
       and state_change > $1`,
    [before.at],
  );
  const seconds = (after.at.getTime() - before.at.getTime()) / 1000;
  return { connections: rows[0]?.connections ?? NaN, queriesPerSecond: (after.count - before.count) / seconds };
}

async function transactions(database: pg.Client): Promise<{ count: number; at: Date }> {
  const { rows } = await database.query<{ count: number; at: Date }>(
    `select (xact_commit + xact_rollback)::float8 as count, clock_timestamp() as at from pg_stat_database
     where datname = current_database()`,
  );
  const [counted] = rows;
  if (counted === undefined) throw new Error('no statistics of this database');
  return counted;
}
