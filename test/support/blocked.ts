import type pg from 'pg';
import type { TestDatabase } from './database.ts';
import { oneOf, rowsOf } from './sql-verbs.ts';
import { until } from './until.ts';

/** A direct connection of a race, and what its server process waits for. */
export interface Racer {
  readonly client: pg.Client;
  /** Resolves when the statement this connection is running waits for a lock that another one holds. */
  isBlocked(): Promise<void>;
}

export async function openRacer(db: TestDatabase): Promise<Racer> {
  const client = await db.connect();
  const { pid } = await oneOf<{ pid: number }>(client, 'select pg_backend_pid() as pid');
  return {
    client,
    isBlocked: async () => {
      await until(
        async () =>
          (await rowsOf(db, `select from pg_stat_activity where pid = $1 and wait_event_type = 'Lock'`, [pid])).length,
        { what: `connection ${pid} waits for a lock` },
      );
    },
  };
}

/**
 * Lets the functions of this database wait for locks as long as a test needs to see them wait: a race whose order is
 * forced must not depend on the machine being quick. That the real limit is 250 ms is tested on its own.
 */
export async function waitPatiently(db: TestDatabase): Promise<void> {
  const functions = await rowsOf<{ name: string }>(
    db,
    `select oid::regprocedure::text as name from pg_proc
     where pronamespace = 'signalbox_v1'::regnamespace and array_to_string(proconfig, ',') like '%lock_timeout%'`,
  );
  for (const { name } of functions) await db.query(`alter function ${name} set lock_timeout = '20s'`);
}

/** The SQLSTATE with which the work fails; `undefined` if it does not. */
export async function sqlStateOf(work: Promise<unknown>): Promise<string | undefined> {
  try {
    await work;
    return undefined;
  } catch (error) {
    return (error as { code?: string }).code ?? String(error);
  }
}
