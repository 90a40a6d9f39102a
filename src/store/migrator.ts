import { Kysely, PostgresDialect, sql } from 'kysely';
import { type Migration, Migrator } from 'kysely/migration';
import pg from 'pg';
import { connectionFailure } from './failures.ts';
import { applyFunctionSet, functionSetState, type FunctionSetState } from './schema/function-set.ts';
import { setRoleTimeouts } from './schema/role-timeouts.ts';
import { readMigrations } from './schema/sql-files.ts';

export interface MigrateOptions {
  /** Never through a transaction pooler: DDL and its locks want one connection. */
  readonly connectionString: string;
  /** Sets statement and idle timeouts for the connecting role in this database (default true). */
  readonly roleTimeouts?: boolean;
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
export async function migrationStatus({ connectionString }: MigrateOptions): Promise<MigrationStatus> {
  return withClient(connectionString, async (client) => {
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
  const { unknown } = await migrationStatus(options);
  if (unknown.length > 0) return { applied: [], functionsApplied: false, schemaIsNewer: true };
  const applied = await runMigrations(options.connectionString);
  return withClient(options.connectionString, async (client) => {
    const functionsApplied = await applyFunctionSet(client);
    await client.query('select signalbox.make_partitions(7)');
    if (options.roleTimeouts ?? true) await setRoleTimeouts(client);
    return { applied, functionsApplied, schemaIsNewer: false };
  });
}

async function runMigrations(connectionString: string): Promise<readonly string[]> {
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
  // Ended by destroy(); an idle connection that breaks meanwhile shows in the next query.
  const pool = new pg.Pool({ ...connection(connectionString), max: 2 });
  pool.on('error', () => undefined);
  const db = new Kysely<unknown>({ dialect: new PostgresDialect({ pool }) });
  try {
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
  } finally {
    await db.destroy();
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

async function withClient<T>(connectionString: string, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client(connection(connectionString));
  client.on('error', () => undefined);
  try {
    await client.connect();
  } catch (error) {
    throw connectionFailure(error);
  }
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}

/** A server that takes the connection and says nothing is as good as none. */
function connection(connectionString: string) {
  return { connectionString, application_name: 'signalbox migrate', connectionTimeoutMillis: 10_000, keepAlive: true };
}
