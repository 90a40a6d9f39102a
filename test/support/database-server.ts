import type { TestProject } from 'vitest/node';

/** What a project's global setup hands to its tests. */
export interface DatabaseServer {
  /** A superuser's url of a database that tests leave alone; the path is replaced for others. */
  readonly adminUrl: string;
  /** The same server through PgBouncer, null where the project has none. */
  readonly poolerUrl: string | null;
}

declare module 'vitest' {
  interface ProvidedContext {
    databaseServer: DatabaseServer;
    /** That `postgres-18` runs the same file in full: where it is a matter of how often, fewer are enough. */
    isRepeat: boolean;
  }
}

/** A server of one test run. */
export interface RunningServer extends DatabaseServer {
  readonly stop: () => Promise<void>;
}

/** The shape of a vitest global setup: started once per run, stopped at its end. */
export function setupWith(start: () => Promise<RunningServer>) {
  return async (project: TestProject): Promise<() => Promise<void>> => {
    const { adminUrl, poolerUrl, stop } = await start();
    project.provide('databaseServer', { adminUrl, poolerUrl });
    return stop;
  };
}

/** The same url for another database. */
export function onDatabase(url: string, name: string): string {
  const changed = new URL(url);
  changed.pathname = `/${name}`;
  return changed.href;
}

/**
 * Throw-away servers: what only protects against losing the machine is off, everything else is as in production. So is the
 * compiling of plans (JIT), which PostgreSQL 15 of Debian has and the embedded server has not: no statement of ours is ever
 * compiled there, but those by which tests check all rows of a database are, for 0.1 s each time.
 */
export const testSettings: Readonly<Record<string, string>> = {
  fsync: 'off',
  full_page_writes: 'off',
  synchronous_commit: 'on',
  max_connections: '400',
  shared_buffers: '256MB',
  max_prepared_transactions: '0',
  jit: 'off',
};
