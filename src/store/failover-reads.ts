import { compiler, type Database } from './database.ts';
import type { Tables } from './tables.ts';

/** The last failover of the database that was seen; `undefined` = nothing is written down, the next decision does that. */
export async function readFailover(db: Database): Promise<Tables['signalbox_v1.failover'] | undefined> {
  const [row] = await db.query<Tables['signalbox_v1.failover']>(
    'read',
    compiler.selectFrom('signalbox_v1.failover').selectAll().compile(),
  );
  return row;
}
