import { cp, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { give } from '../../src/store/embedded/cluster.ts';
import { runCommand } from '../../src/store/embedded/command.ts';
import { openEmbeddedServer } from '../../src/store/embedded/index.ts';
import { findServerOwner } from '../../src/store/embedded/server-owner.ts';
import type { StoppableServer } from './stoppable-server.ts';
import { until } from './until.ts';

/** A PostgreSQL that follows another one asynchronously, until it is cut off, and may take its place. */
export interface Standby extends AsyncDisposable {
  readonly url: string;
  query<Row extends pg.QueryResultRow>(sql: string): Promise<Row[]>;
  /** Resolves when it has all that the primary has, and follows it no longer: what comes there now is lost with it. */
  cutOff(): Promise<void>;
  /** Resolves when it takes writes. */
  promote(): Promise<void>;
}

/** Stops the primary for a moment, to copy it. */
export async function standbyOf(primary: StoppableServer): Promise<Standby> {
  const dataDir = await mkdtemp(join(tmpdir(), 'signalbox-standby-'));
  const pgdata = join(dataDir, 'postgres');
  await primary.stop('fast');
  await mkdir(dataDir, { recursive: true });
  await cp(join(primary.dataDir, 'access.json'), join(dataDir, 'access.json'));
  // With owners and modes as they are.
  const copied = await runCommand('/bin/cp', ['-a', join(primary.dataDir, 'postgres'), pgdata], null);
  if (copied.exitCode !== 0) throw new Error(copied.output);
  await primary.start();
  await writeFile(join(pgdata, 'standby.signal'), '');
  await give(join(pgdata, 'standby.signal'), await findServerOwner());
  const { hostname, port, username, password } = new URL(primary.url);
  const server = await openEmbeddedServer({
    dataDir,
    log: () => undefined,
    postgresSettings: {
      fsync: 'off',
      primary_conninfo: `host=${hostname} port=${port} user=${username} password=${password}`,
    },
  });
  const query = <Row extends pg.QueryResultRow>(sql: string) => queryOnce<Row>(server.url, sql);
  return {
    url: server.url,
    query,
    cutOff: async () => {
      const [row] = await queryOnce<{ lsn: string }>(primary.url, 'select pg_current_wal_flush_lsn()::text as lsn');
      await until(async () => (await query(`select 1 where pg_last_wal_replay_lsn() >= '${row?.lsn}'`)).length === 1, {
        what: 'the standby has it all',
      });
      await query(`alter system set primary_conninfo to ''`);
      await query('select pg_reload_conf()');
      await until(async () => (await query('select 1 from pg_stat_wal_receiver')).length === 0, {
        what: 'the standby is cut off',
      });
    },
    promote: async () => {
      await query('select pg_promote()');
    },
    [Symbol.asyncDispose]: async () => {
      await server.leave();
      await rm(dataDir, { recursive: true, force: true });
    },
  };
}

async function queryOnce<Row extends pg.QueryResultRow>(url: string, sql: string): Promise<Row[]> {
  const client = new pg.Client({ connectionString: url });
  client.on('error', () => undefined);
  await client.connect();
  try {
    return (await client.query<Row>(sql)).rows;
  } finally {
    await client.end();
  }
}
