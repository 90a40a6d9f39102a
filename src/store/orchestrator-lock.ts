import type { Epoch, ReplicaId } from '../protocol/ids.ts';
import type { Database } from './database.ts';

export type Campaign =
  | { readonly kind: 'won'; readonly epoch: Epoch }
  | { readonly kind: 'led_by_other'; readonly leader: string; readonly epoch: Epoch; readonly remainingMs: number };

interface CampaignRow {
  readonly won: boolean;
  readonly leader: string;
  readonly epoch: string;
  readonly remaining_ms: string;
}

/**
 * Takes the leadership if it is free or expired, under `orchestrator_lock FOR UPDATE`. Also says `led_by_other` to the
 * leader itself while its term is fresh: renewing is `renewTerm`.
 */
export async function campaign(
  db: Database,
  replicaId: ReplicaId,
  leaseMs: number,
  options: { readonly timeoutMs: number },
): Promise<Campaign> {
  const [row] = await db.query<CampaignRow>(
    'lead',
    { sql: 'select * from signalbox_v1.campaign($1, $2)', parameters: [replicaId, leaseMs] },
    options,
  );
  if (row === undefined) throw new Error('campaign returned no row');
  const epoch = Number(row.epoch) as Epoch;
  return row.won
    ? { kind: 'won', epoch }
    : { kind: 'led_by_other', leader: row.leader, epoch, remainingMs: Number(row.remaining_ms) };
}

/** Reads who leads, without any lock. `undefined` = nobody: free, expired or the row is missing. */
export async function readLeader(
  db: Database,
  options: { readonly timeoutMs: number },
): Promise<{ readonly leader: string; readonly epoch: Epoch; readonly remainingMs: number } | undefined> {
  const [row] = await db.query<{ leader: string | null; epoch: string; leads: boolean; ttl_remaining_ms: string }>(
    'lead',
    { sql: 'select leader, epoch, leads, ttl_remaining_ms from signalbox_v1.leader', parameters: [] },
    options,
  );
  if (row?.leads !== true || row.leader === null) return undefined;
  return { leader: row.leader, epoch: Number(row.epoch) as Epoch, remainingMs: Number(row.ttl_remaining_ms) };
}

/** Renews exactly this term by its leader and epoch. `deposed` = the row belongs to somebody else or nobody. */
export async function renewTerm(
  db: Database,
  replicaId: ReplicaId,
  epoch: Epoch,
  leaseMs: number,
  options: { readonly timeoutMs: number },
): Promise<{ readonly kind: 'renewed' } | { readonly kind: 'deposed' }> {
  const rows = await db.query(
    'lead',
    { sql: 'select * from signalbox_v1.renew_term($1, $2, $3)', parameters: [replicaId, epoch, leaseMs] },
    options,
  );
  return rows.length === 1 ? { kind: 'renewed' } : { kind: 'deposed' };
}

/** Expires exactly this term now. `not_leading` = it was over already; nobody else's term is touched. */
export async function resign(
  db: Database,
  replicaId: ReplicaId,
  epoch: Epoch,
  options: { readonly timeoutMs: number },
): Promise<{ readonly kind: 'resigned' } | { readonly kind: 'not_leading' }> {
  const [row] = await db.query<{ resigned: boolean }>(
    'lead',
    { sql: 'select signalbox_v1.resign($1, $2) as resigned', parameters: [replicaId, epoch] },
    options,
  );
  return row?.resigned === true ? { kind: 'resigned' } : { kind: 'not_leading' };
}
