import type { TestDatabase } from './database.ts';

/** As if the server had been another one until now. The true story is told by test/scenario/database-failover.test.ts. */
export async function failOver(db: TestDatabase): Promise<void> {
  await db.query(`update signalbox.timeline set timeline = '00000000'`);
}
