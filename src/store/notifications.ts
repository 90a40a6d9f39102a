import pg from 'pg';
import { endConnection } from './connections.ts';
import type { Database } from './database.ts';

/** The one channel; it belongs to the database, so two installations in one server never hear each other. */
export const channel = 'signalbox';

/** PostgreSQL refuses payloads of 8,000 bytes and more. */
export const payloadBytesMax = 7900;

/** Sends payloads to every listening replica, itself included. Delivered at commit, or never: a hint, not a promise. */
export async function notify(db: Database, payloads: readonly string[]): Promise<void> {
  await db.query('read', {
    sql: 'select pg_notify($1, p.payload) from unnest($2::text[]) p(payload)',
    parameters: [channel, payloads],
  });
}

export interface ListenConnection extends AsyncDisposable {
  /** Resolves when the connection is gone, for whatever reason. */
  readonly closed: Promise<void>;
  /** One round trip; throws if the connection is dead without having said so. */
  probe(): Promise<void>;
}

/** Opens a connection of its own and listens. It must not go through a transaction pooler. */
export async function listen(
  connectionString: string,
  onPayload: (payload: string) => void,
  options: { readonly connectTimeoutMs: number },
): Promise<ListenConnection> {
  const client = new pg.Client({
    connectionString,
    application_name: 'signalbox listen',
    keepAlive: true,
    connectionTimeoutMillis: options.connectTimeoutMs,
    query_timeout: options.connectTimeoutMs,
  });
  const closed = new Promise<void>((resolve) => {
    client.once('end', () => resolve());
    client.once('error', () => resolve());
  });
  client.on('error', () => undefined);
  client.on('notification', ({ payload }) => {
    if (payload !== undefined) onPayload(payload);
  });
  try {
    await client.connect();
    await client.query(`listen ${channel}`);
  } catch (error) {
    await endConnection(client);
    throw error;
  }
  return {
    closed,
    probe: async () => {
      await client.query('select 1');
    },
    [Symbol.asyncDispose]: () => endConnection(client),
  };
}
