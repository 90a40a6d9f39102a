import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { type EmbeddedServer, openEmbeddedServer } from '../../src/store/embedded/index.ts';
import { onDatabase } from '../support/database-server.ts';
import { cpuOfFamily, cpuOfProcesses } from './process-cpu.ts';
import type { Results } from './results.ts';

/** How much of everything: a quick run ends within minutes, a full one uses the sizes of the goals. */
export interface Extent {
  readonly isQuick: boolean;
  readonly rounds: number;
  /** Of one contender's turn in a round. */
  readonly seconds: number;
}

/** Where a measure puts what it must undo: disposed at its end, and when the bench is interrupted. */
export type Scope = Pick<AsyncDisposableStack, 'use' | 'defer'>;

export interface Measure {
  readonly name: string;
  run(rig: Rig, scope: Scope): Promise<void>;
}

/** Processor time so far, in µs: of this process (the load), of a contender's processes, of PostgreSQL. */
export interface CpuTimes {
  readonly load: number;
  readonly server: number;
  readonly postgres: number;
}

/** Durable as users have it; more connections than the default for many replicas at once, and a cache as a server has. */
const postgresSettings = { max_connections: '400', shared_buffers: '512MB' };

/** One PostgreSQL for all contenders of a run, each with a database of its own. */
export class Rig implements AsyncDisposable {
  readonly extent: Extent;
  readonly results: Results;
  readonly dataDir: string;
  readonly #server: EmbeddedServer;
  readonly #postmaster: number;
  #databases = 0;

  private constructor(options: {
    extent: Extent;
    results: Results;
    dataDir: string;
    server: EmbeddedServer;
    postmaster: number;
  }) {
    this.extent = options.extent;
    this.results = options.results;
    this.dataDir = options.dataDir;
    this.#server = options.server;
    this.#postmaster = options.postmaster;
  }

  static async open(extent: Extent, results: Results): Promise<Rig> {
    const dataDir = await mkdtemp(join(tmpdir(), 'signalbox-bench-'));
    try {
      const server = await openEmbeddedServer({ dataDir, log: () => undefined, postgresSettings });
      const [pid = ''] = (await readFile(join(dataDir, 'postgres/postmaster.pid'), 'utf8')).split('\n');
      return new Rig({ extent, results, dataDir, server, postmaster: Number(pid) });
    } catch (error) {
      await rm(dataDir, { recursive: true, force: true });
      throw error;
    }
  }

  /** The server, its database is nobody's. */
  get adminUrl(): string {
    return this.#server.url;
  }

  async describePostgres(): Promise<{ version: string; settings: Readonly<Record<string, string>> }> {
    const { rows } = await this.#asAdmin<{ server_version: string }>('show server_version');
    return { version: rows[0]?.server_version ?? 'unknown', settings: postgresSettings };
  }

  /** The url of a new, empty database; dropped with the scope. */
  async database(scope: Scope): Promise<string> {
    const name = `bench_${++this.#databases}`;
    await this.#asAdmin(`create database ${name} template template0`);
    scope.defer(async () => {
      await this.#asAdmin(`drop database if exists ${name} with (force)`);
    });
    return onDatabase(this.adminUrl, name);
  }

  /** A direct connection. A replica sets timeouts for the role, which are not meant for whoever fills or watches tables. */
  async connect(url: string, scope: Scope): Promise<pg.Client> {
    const client = new pg.Client({ connectionString: url });
    client.on('error', () => undefined);
    scope.defer(() => client.end().catch(() => undefined));
    await client.connect();
    await client.query('set statement_timeout = 0');
    await client.query('set idle_in_transaction_session_timeout = 0');
    return client;
  }

  cpu(serverPids: readonly number[]): CpuTimes {
    const { user, system } = process.cpuUsage();
    return {
      load: user + system,
      server: cpuOfProcesses(serverPids),
      postgres: cpuOfFamily(this.#postmaster),
    };
  }

  /** To whoever watches; results go to stdout. */
  say(message: string): void {
    process.stderr.write(`${message}\n`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server.leave();
    await rm(this.dataDir, { recursive: true, force: true });
  }

  async #asAdmin<Row extends pg.QueryResultRow>(sql: string): Promise<pg.QueryResult<Row>> {
    const admin = new pg.Client({ connectionString: this.adminUrl });
    await admin.connect();
    try {
      return await admin.query<Row>(sql);
    } finally {
      await admin.end();
    }
  }
}
