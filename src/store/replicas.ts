import type { ReplicaId } from '../protocol/ids.ts';
import type { Database } from './database.ts';

/** Writes that this replica is there, now. One row, no lock but its own; nothing is decided by it. */
export async function reportReplica(
  db: Database,
  replica: { readonly replicaId: ReplicaId; readonly version: string; readonly url: string | null },
  options: { readonly timeoutMs: number },
): Promise<void> {
  await db.query(
    'read',
    {
      sql: 'select signalbox_v1.report_replica($1, $2, $3)',
      parameters: [replica.replicaId, replica.version, replica.url],
    },
    options,
  );
}

/** Removes this replica's row; no row is fine. */
export async function retireReplica(
  db: Database,
  replicaId: ReplicaId,
  options: { readonly timeoutMs: number },
): Promise<void> {
  await db.query('read', { sql: 'select signalbox_v1.retire_replica($1)', parameters: [replicaId] }, options);
}
