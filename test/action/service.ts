import { afterAll, beforeAll } from 'vitest';
import { type TestDatabase, freshDatabase } from '../support/database.ts';
import { type TestApp, startTestApp } from '../support/test-app.ts';
import { aToken } from '../support/token-app.ts';
import type { Builds } from './builds.ts';
import { until } from '../support/until.ts';

export interface ServiceParts {
  readonly database: TestDatabase;
  readonly replica: TestApp;
  /** Of scope use. */
  readonly token: string;
  /** The status of the build that has the lease, or what is left of it; null: nobody. */
  readonly holder: (builds: Builds) => Promise<{ headSha: string; status: string } | null>;
  /** Waits until nobody has the lease and nobody waits; of a success its builds stay visible until the next call. */
  readonly untilFree: (builds: Builds) => Promise<void>;
}

/** One replica with a leader, for all tests of a file. */
export function aService(env: Readonly<Record<string, string>>, handOver: (parts: ServiceParts) => void): void {
  let database: TestDatabase;
  let replica: TestApp;
  beforeAll(async () => {
    database = await freshDatabase();
    const { token } = await aToken(database, { scope: 'use', prefix: 'merge-queue/acme/' });
    replica = await startTestApp(database, env);
    const show = async ({ repository }: Builds) => {
      const response = await fetch(`${replica.url}/merge-queue/${repository}/main`, {
        headers: { authorization: `Bearer ${token}` },
      });
      return (await response.json()) as {
        acquired: { request: { head_sha: string; status: string } } | null;
        known: unknown[];
      };
    };
    handOver({
      database,
      replica,
      token,
      holder: async (builds) => {
        const { acquired } = await show(builds);
        return acquired && { headSha: acquired.request.head_sha, status: acquired.request.status };
      },
      untilFree: async (builds) => {
        await until(
          async () => {
            const { acquired, known } = await show(builds);
            return acquired?.request.status === 'completed' || (acquired === null && known.length === 0);
          },
          { what: 'the merge queue is free' },
        );
      },
    });
  });
  afterAll(async () => {
    await replica[Symbol.asyncDispose]();
    await database[Symbol.asyncDispose]();
  });
}
