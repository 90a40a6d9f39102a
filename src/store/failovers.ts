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

/** Ends all quarantines of the last failover; with `timeline` only if it is the one that began this timeline. False = none to accept. */
export async function acceptFailover(db: Database, actor: string, timeline: string | undefined): Promise<boolean> {
  const [row] = await db.query<{ accepted: boolean }>('contended', {
    sql: 'select signalbox_v1.accept_failover($1, $2) as accepted',
    parameters: [actor, timeline ?? null],
  });
  return row?.accepted === true;
}
