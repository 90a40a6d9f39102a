import pg from 'pg';
import { onDatabase } from '../../support/database-server.ts';

export interface OwnDatabase extends AsyncDisposable {
  readonly url: string;
  query<Row extends pg.QueryResultRow>(sql: string, values?: unknown[]): Promise<Row[]>;
}

/** An empty database of this name on the server, with a connection to look at it. Disposing it drops it. */
export async function makeOwnDatabase(databaseUrl: string, name: string): Promise<OwnDatabase> {
  await onServer(databaseUrl, [`drop database if exists ${name} with (force)`, `create database ${name}`]);
  const url = onDatabase(databaseUrl, name);
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  return {
    url,
    query: async <Row extends pg.QueryResultRow>(sql: string, values?: unknown[]) =>
      (await client.query<Row>(sql, values)).rows,
    [Symbol.asyncDispose]: async () => {
      await client.end();
      await onServer(databaseUrl, [`drop database if exists ${name} with (force)`]);
    },
  };
}

async function onServer(url: string, statements: readonly string[]): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    for (const statement of statements) await client.query(statement);
  } finally {
    await client.end();
  }
}
