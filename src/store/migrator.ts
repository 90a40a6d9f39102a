import { Kysely, PostgresAdapter, PostgresDialect, sql } from 'kysely';
import { type Migration, Migrator } from 'kysely/migration';
import pg from 'pg';
import { PoolConnections, cutConnection, endConnection } from './connections.ts';
import { DatabaseUnavailableError, connectionFailure } from './failures.ts';
import { applyFunctionSet, functionSetState, type FunctionSetState } from './schema/function-set.ts';
import { setRoleTimeouts } from './schema/role-timeouts.ts';
import { readMigrations } from './schema/sql-files.ts';

export interface MigrateOptions {
  /** Never through a transaction pooler: DDL and its locks want one connection. */
  readonly connectionString: string;
  /** Sets statement and idle timeouts for the connecting role in this database (default true). */
  readonly roleTimeouts?: boolean;
  /** Gives up at once, also on a database that says nothing. What was under way is left to the server. */
  readonly signal?: AbortSignal | undefined;
}

export interface MigrationStatus {
  readonly applied: readonly string[];
  readonly pending: readonly string[];
  /** Applied by a newer program; this one does not know them. */
  readonly unknown: readonly string[];
  readonly functions: FunctionSetState | 'not_installed';
}

export interface MigrationReport {
  readonly applied: readonly string[];
  readonly functionsApplied: boolean;
  /** A newer program was here: nothing was changed. */
  readonly schemaIsNewer: boolean;
}

/** The schema is past a breaking migration that this program does not know. It must not run. */
export class SchemaTooNewError extends Error {
  readonly migrations: readonly string[];

  constructor(migrations: readonly string[]) {
    super(`the database is past breaking migrations that this program does not know: ${migrations.join(', ')}`);
    this.name = 'SchemaTooNewError';
    this.migrations = migrations;
  }
}

/** What `migrate` would do, without doing it. Throws `SchemaTooNewError` as `migrate` would. */
export async function migrationStatus(options: MigrateOptions): Promise<MigrationStatus> {
  return withClient(options, async (client) => {
    const known = (await readMigrations()).map(({ name }) => name);
    const applied = await appliedMigrations(client);
    const unknown = applied.filter((name) => !known.includes(name));
    refuseBreaking(unknown);
    return {
      applied,
      pending: known.filter((name) => !applied.includes(name)),
      unknown,
      functions: applied.length === 0 ? 'not_installed' : await functionSetState(client),
    };
  });
}

/**
 * Brings the schema to this program's state: migrations (each once, under a lock, so that any number of processes may
 * start at once), then the SQL functions and views, then the history partitions of the next days. A schema of a newer
 * program is left as it is; one past a breaking migration throws `SchemaTooNewError` and nothing is changed.
 */
export async function migrate(options: MigrateOptions): Promise<MigrationReport> {
  if (await isNewer(options)) return newer;
  let applied: readonly string[];
  try {
    applied = await runMigrations(options);
  } catch (error) {
    // A newer program may have migrated while this one waited for its turn; then Kysely misses migrations.
    if (isOfServer(error) || !(await isNewer(options))) throw error;
    return newer;
  }
  return withClient(options, async (client) => {
    const functionsApplied = await applyFunctionSet(client);
    await client.query('select signalbox.make_partitions(7)');
    if (options.roleTimeouts ?? true) await setRoleTimeouts(client);
    return { applied, functionsApplied, schemaIsNewer: false };
  });
}

const newer: MigrationReport = { applied: [], functionsApplied: false, schemaIsNewer: true };

async function isNewer(options: MigrateOptions): Promise<boolean> {
  return (await migrationStatus(options)).unknown.length > 0;
}

async function runMigrations({ connectionString, signal }: MigrateOptions): Promise<readonly string[]> {
  const files = await readMigrations();
  const migrations: Record<string, Migration> = Object.fromEntries(
    files.map(({ name, text }) => [
      name,
      {
        up: async (db) => {
          await sql.raw(text).execute(db);
        },
      },
    ]),
  );
  const connections = new PoolConnections();
  const pool = new pg.Pool({ ...connection(connectionString), Client: connections.Client, max: 2 });
  let isBroken = false;
  const broken = () => (isBroken = true);
  pool.on('error', broken);
  pool.on('connect', (client) => client.on('error', broken));
  const db = new Kysely<unknown>({
    dialect: new MigrationDialect({
      pool: {
        options: pool.options,
        connect: () =>
          pool.connect().catch((error: unknown) => {
            throw connectionFailure(error);
          }),
        end: () => connections.end([pool]),
      },
    }),
  });
  const cut = () => connections.cut();
  signal?.addEventListener('abort', cut, { once: true });
  try {
    signal?.throwIfAborted();
    const migrator = new Migrator({
      db,
      provider: { getMigrations: async () => migrations },
      migrationTableSchema: 'signalbox',
      migrationTableName: 'schema_migrations',
      migrationLockTableName: 'schema_migrations_lock',
    });
    const { error, results } = await migrator.migrateToLatest();
    if (error !== undefined) throw error instanceof Error ? error : new Error('migration failed', { cause: error });
    return (results ?? []).filter(({ status }) => status === 'Success').map(({ migrationName }) => migrationName);
  } catch (error) {
    throw failureOf(error, isBroken);
  } finally {
    signal?.removeEventListener('abort', cut);
    await db.destroy();
    // Without a query Kysely does not know the pool.
    await connections.end([pool]);
  }
}

async function appliedMigrations(client: pg.ClientBase): Promise<readonly string[]> {
  const { rows: found } = await client.query<{ exists: boolean }>(
    `select to_regclass('signalbox.schema_migrations') is not null as exists`,
  );
  if (found[0]?.exists !== true) return [];
  const { rows } = await client.query<{ name: string }>('select name from signalbox.schema_migrations order by name');
  return rows.map(({ name }) => name);
}

function refuseBreaking(unknown: readonly string[]): void {
  const breaking = unknown.filter((name) => name.endsWith('.breaking'));
  if (breaking.length > 0) throw new SchemaTooNewError(breaking);
}

async function withClient<T>(
  { connectionString, signal }: MigrateOptions,
  work: (client: pg.Client) => Promise<T>,
): Promise<T> {
  const client = new pg.Client(connection(connectionString));
  let isBroken = false;
  client.on('error', () => (isBroken = true));
  const cut = () => cutConnection(client);
  signal?.addEventListener('abort', cut, { once: true });
  try {
    signal?.throwIfAborted();
    await client.connect().catch((error: unknown) => {
      throw connectionFailure(error);
    });
    return await work(client);
  } catch (error) {
    throw failureOf(error, isBroken);
  } finally {
    signal?.removeEventListener('abort', cut);
    await endConnection(client);
  }
}

/** Whatever went wrong on a connection that broke, its end was the reason. */
function failureOf(error: unknown, isBroken: boolean): unknown {
  return isBroken && !isOfServer(error) ? new DatabaseUnavailableError(error) : error;
}

function isOfServer(error: unknown): boolean {
  return error instanceof pg.DatabaseError || error instanceof DatabaseUnavailableError;
}

/**
 * Waits for its turn as long as it takes: the timeouts of the role would end the wait. Set by statement and taken back, not
 * by a start-up option, which a pooler would refuse and a URL may hold already.
 */
class MigrationAdapter extends PostgresAdapter {
  override async acquireMigrationLock(...[db, options]: Parameters<PostgresAdapter['acquireMigrationLock']>) {
    await sql.raw('set statement_timeout = 0; set idle_in_transaction_session_timeout = 0').execute(db);
    await super.acquireMigrationLock(db, options);
  }

  override async releaseMigrationLock(...[db, options]: Parameters<PostgresAdapter['releaseMigrationLock']>) {
    await super.releaseMigrationLock(db, options);
    await sql.raw('reset statement_timeout; reset idle_in_transaction_session_timeout').execute(db);
  }
}

class MigrationDialect extends PostgresDialect {
  override createAdapter(): PostgresAdapter {
    return new MigrationAdapter();
  }
}

/** A server that takes the connection and says nothing is as good as none. */
function connection(connectionString: string) {
  return { connectionString, application_name: 'signalbox migrate', connectionTimeoutMillis: 10_000, keepAlive: true };
}
