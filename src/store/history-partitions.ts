import pg from 'pg';
import { cutConnection, endConnection } from './connections.ts';
import type { Database } from './database.ts';
import type { Term } from './decisions.ts';
import { connectionFailure } from './failures.ts';

export interface HistoryPartition {
  readonly parent: 'history' | 'events';
  /** `history_20260131`: from the catalogue, and of this form only. */
  readonly name: string;
  /** `detaching`: a DETACH CONCURRENTLY was broken off; `detached`: it ended, the drop did not happen. */
  readonly state: 'attached' | 'detaching' | 'detached';
  /** Days from today (UTC, database clock) to the partition's day; negative = past. */
  readonly daysAhead: number;
}

/** Makes the daily partitions from yesterday to so many days ahead; how many were missing. SB001 if the term is over. */
export async function sweepPartitions(db: Database, term: Term, daysAhead: number): Promise<number> {
  const [row] = await db.query<{ made: number }>('sweep', {
    sql: 'select signalbox_v1.sweep_partitions($1, $2, $3) as made',
    parameters: [term.replicaId, term.epoch, daysAhead],
  });
  return row?.made ?? 0;
}

/** The partitions that exist, oldest first, also those that are half detached. Locks nothing. */
export async function listPartitions(db: Database): Promise<readonly HistoryPartition[]> {
  return db.query<HistoryPartition>('sweep', {
    sql: `select split_part(c.relname, '_', 1) as parent, c.relname as name,
            case when i.inhrelid is null then 'detached' when i.inhdetachpending then 'detaching' else 'attached' end as state,
            to_date(split_part(c.relname, '_', 2), 'YYYYMMDD') - (signalbox.clock() at time zone 'UTC')::date as "daysAhead"
          from pg_catalog.pg_class c
          left join pg_catalog.pg_inherits i on i.inhrelid = c.oid
          where c.relnamespace = 'signalbox'::regnamespace and c.relkind = 'r' and c.relname ~ '^(history|events)_[0-9]{8}$'
          order by 4, 2`,
    parameters: [],
  });
}

/** Begins and, unless broken off, ends the detaching of a partition. Stops no writer and no reader; waits for them. */
export async function detachPartition(
  { client }: PartitionConnection,
  { parent, name }: HistoryPartition,
): Promise<void> {
  await client.query(`alter table signalbox.${quoted(parent)} detach partition signalbox.${quoted(name)} concurrently`);
}

/** Ends a detaching that was broken off. */
export async function finalizeDetach(
  { client }: PartitionConnection,
  { parent, name }: HistoryPartition,
): Promise<void> {
  await client.query(`alter table signalbox.${quoted(parent)} detach partition signalbox.${quoted(name)} finalize`);
}

/** Drops a table that is no partition any more: the caller has seen it `detached`, or detached it. */
export async function dropDetached({ client }: PartitionConnection, { name }: HistoryPartition): Promise<void> {
  await client.query(`drop table if exists signalbox.${quoted(name)}`);
}

/** Cancels what this backend runs, if it is work on our partitions: behind a pooler the pid may be somebody else's. */
export async function cancelPartitionWork(db: Database, backendPid: number): Promise<void> {
  await db.query('sweep', {
    sql: `select pg_cancel_backend(pid) from pg_stat_activity
          where pid = $1 and datname = current_database()
            and query ~ '^(alter table signalbox|drop table if exists signalbox)'`,
    parameters: [backendPid],
  });
}

/** A connection for statements that cannot run in a transaction or through a pooler. */
export interface PartitionConnection {
  readonly client: pg.Client;
  readonly backendPid: number;
  /** Never rejects, and takes about a second at most. A statement under way is left to the server. */
  close(): Promise<void>;
  /** Closes the socket at once: the statement under way fails here, and is left to the server. */
  cut(): void;
}

const connectTimeoutMs = 5000;

export async function connectForPartitions(directUrl: string, signal: AbortSignal): Promise<PartitionConnection> {
  const client = new pg.Client({
    connectionString: directUrl,
    application_name: 'signalbox history',
    connectionTimeoutMillis: connectTimeoutMs,
    keepAlive: true,
  });
  // A connection that breaks shows in its query.
  client.on('error', () => undefined);
  const cut = () => cutConnection(client);
  // The driver's timeout ends with the handshake; this one counts the first answer too.
  const timer = setTimeout(cut, connectTimeoutMs);
  signal.addEventListener('abort', cut, { once: true });
  try {
    signal.throwIfAborted();
    await client.connect();
    const { rows } = await client.query<{ pid: number }>('select pg_backend_pid() as pid');
    return { client, backendPid: rows[0]?.pid ?? 0, close: () => endConnection(client), cut };
  } catch (error) {
    await endConnection(client);
    throw connectionFailure(error);
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', cut);
  }
}

function quoted(name: string): string {
  return pg.escapeIdentifier(name);
}
