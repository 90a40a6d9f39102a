import { afterAll, beforeAll } from 'vitest';
import { freshDatabase, type TestDatabase } from './database.ts';
import type { TestClient } from './http-client.ts';
import { startTestApp, type TestApp, withoutLeader } from './test-app.ts';

export interface OneReplica {
  readonly database: TestDatabase;
  readonly replica: TestApp;
  readonly client: TestClient;
}

/**
 * One replica on a database of its own for all tests of a file; handed over before the first of them. Nobody leads, unless
 * `isLed`.
 */
export function oneReplica(handOver: (parts: OneReplica) => void, { isLed = false } = {}): void {
  let database: TestDatabase;
  let replica: TestApp;
  beforeAll(async () => {
    database = await freshDatabase();
    if (!isLed) await withoutLeader(database);
    replica = await startTestApp(database);
    handOver({ database, replica, client: replica.client });
  });
  afterAll(async () => {
    await replica[Symbol.asyncDispose]();
    await database[Symbol.asyncDispose]();
  });
}
