import { compiler, type Database } from './database.ts';
import type { Tables } from './tables.ts';

/** The leader row with the last sweep; `undefined` = the row is missing (the next campaign makes it again). */
export async function readLeaderView(db: Database): Promise<Tables['signalbox_v1.leader'] | undefined> {
  const [row] = await db.query<Tables['signalbox_v1.leader']>(
    'read',
    compiler.selectFrom('signalbox_v1.leader').selectAll().compile(),
  );
  return row;
}

/** The last terms, newest first. */
export function readTerms(db: Database, limit: number): Promise<readonly Tables['signalbox.terms'][]> {
  return db.query(
    'read',
    compiler.selectFrom('signalbox.terms').selectAll().orderBy('epoch', 'desc').limit(limit).compile(),
  );
}

/** The last round of each chore. */
export function readChores(db: Database): Promise<readonly Tables['signalbox.chores'][]> {
  return db.query('read', compiler.selectFrom('signalbox.chores').selectAll().orderBy('chore').compile());
}

/** Replicas that have said they are there, and whether within the last `aliveMs`. */
export function readReplicas(
  db: Database,
  aliveMs: number,
): Promise<readonly (Tables['signalbox.replicas'] & { readonly alive: boolean })[]> {
  return db.query('read', {
    sql: `select r.*, r.heard_at > signalbox.clock() - signalbox.ms($1) as alive
          from signalbox.replicas r order by r.started_at, r.replica_id limit 1000`,
    parameters: [aliveMs],
  });
}

/** Whether this connection reaches a primary that takes writes. Throws when it reaches nothing. */
export async function isWritablePrimary(db: Database): Promise<boolean> {
  const [row] = await db.query<{ writable: boolean }>('read', {
    sql: `select not pg_is_in_recovery() and current_setting('transaction_read_only') = 'off' as writable`,
    parameters: [],
  });
  return row?.writable === true;
}
