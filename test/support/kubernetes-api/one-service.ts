import { afterAll, beforeAll } from 'vitest';
import { freshDatabase, type TestDatabase } from '../database.ts';
import { startTestApp, type TestApp } from '../test-app.ts';

/** One replica that leads, on a database of its own, for all tests of a file. */
export function oneService(handOver: (replica: TestApp) => void): void {
  let database: TestDatabase;
  let replica: TestApp;
  beforeAll(async () => {
    database = await freshDatabase();
    replica = await startTestApp(database);
    handOver(replica);
  });
  afterAll(async () => {
    await replica[Symbol.asyncDispose]();
    await database[Symbol.asyncDispose]();
  });
}
