import { createHash, randomBytes } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import pg from 'pg';
import { inject } from 'vitest';
import { onDatabase } from './database-server.ts';

/** A statement that its connection parses and plans once. */
export interface PreparedStatement {
  readonly name: string;
  readonly text: string;
}

export interface TestDatabase extends AsyncDisposable {
  readonly name: string;
  /** What a client would use: through the pooler in the project that has one. */
  readonly url: string;
  /** Never through a pooler. */
  readonly directUrl: string;
  /** One statement on a direct connection that this database keeps for the test's own questions. */
  query<Row extends pg.QueryResultRow = Record<string, unknown>>(
    sql: string | PreparedStatement,
    params?: readonly unknown[],
  ): Promise<pg.QueryResult<Row>>;
  /** A direct connection; closed with the database. */
  connect(): Promise<pg.Client>;
}

/** A database with our schema, cloned from a template that is migrated once per server. Disposing it drops it. */
export async function freshDatabase(): Promise<TestDatabase> {
  return createDatabase(await migratedTemplate());
}

/** A database without our schema. Disposing it drops it. */
export function emptyDatabase(): Promise<TestDatabase> {
  return createDatabase('template0');
}

async function createDatabase(template: string): Promise<TestDatabase> {
  const { adminUrl, poolerUrl } = inject('databaseServer');
  const name = `test_${randomBytes(8).toString('hex')}`;
  await asAdmin((admin) => admin.query(`CREATE DATABASE ${name} TEMPLATE ${template}`));
  const directUrl = onDatabase(adminUrl, name);
  const clients: pg.Client[] = [];
  const connect = async () => {
    const client = new pg.Client({ connectionString: directUrl });
    // Tests cut connections on purpose; whoever uses one that was cut gets the error there.
    client.on('error', () => undefined);
    clients.push(client);
    await client.connect();
    return client;
  };
  let own: Promise<pg.Client> | undefined;
  return {
    name,
    url: onDatabase(poolerUrl ?? adminUrl, name),
    directUrl,
    connect,
    query: async (sql, params = []) => (await (own ??= connect())).query(sql, [...params]),
    [Symbol.asyncDispose]: async () => {
      await Promise.all(clients.map((client) => client.end().catch(() => undefined)));
      await asAdmin((admin) => admin.query(`DROP DATABASE IF EXISTS ${name} WITH (FORCE)`));
    },
  };
}

let template: Promise<string> | undefined;

/** Its name changes with the migrations, so that a long watch run does not clone an old schema. */
function migratedTemplate(): Promise<string> {
  template ??= buildTemplate();
  return template;
}

async function buildTemplate(): Promise<string> {
  const name = `template_${await fingerprint(join(import.meta.dirname, '../../migrations'))}`;
  await asAdmin(async (admin) => {
    // Workers are processes: one builds, the others wait. The lock goes with the connection.
    await admin.query(`SELECT pg_advisory_lock(hashtext('test template'))`);
    const { rowCount } = await admin.query('SELECT FROM pg_database WHERE datname = $1', [name]);
    if (rowCount !== 0) return;
    const draft = `${name}_draft`;
    await admin.query(`DROP DATABASE IF EXISTS ${draft} WITH (FORCE)`);
    await admin.query(`CREATE DATABASE ${draft} TEMPLATE template0`);
    const { migrate } = await import('../../src/store/migrator.ts');
    await migrate({ connectionString: onDatabase(inject('databaseServer').adminUrl, draft) });
    // The rename says it is whole, and it fails if the migrator left a connection open.
    await admin.query(`ALTER DATABASE ${draft} RENAME TO ${name}`);
  });
  return name;
}

async function fingerprint(directory: string): Promise<string> {
  const hash = createHash('sha256');
  const files = (await readdir(directory, { recursive: true })).filter((file) => file.endsWith('.sql'));
  for (const file of files.sort()) hash.update(`${file}\0`).update(await readFile(join(directory, file)));
  return hash.digest('hex').slice(0, 16);
}

async function asAdmin<T>(work: (admin: pg.Client) => Promise<T>): Promise<T> {
  const admin = new pg.Client({ connectionString: inject('databaseServer').adminUrl });
  await admin.connect();
  try {
    return await work(admin);
  } finally {
    await admin.end();
  }
}
