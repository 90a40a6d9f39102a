import type { MergeQueueSettings, MergeQueueSettingsChange } from '../protocol/merge-queue.ts';
import { type Database, type Lane, compiler } from './database.ts';
import type { Term } from './decisions.ts';
import { behindPrefix } from './queue-reads.ts';
import type { Tables } from './tables.ts';

export type MergeQueueRow = Tables['signalbox_v1.merge_queues'];
export type MergeRequestRow = Tables['signalbox_v1.merge_requests'];

/** A build as it is stored; times are ms since 1970 by the database's clock. */
export interface StoredRequest {
  readonly head_sha: string;
  readonly head_ref: string;
  readonly priority: number;
  readonly status: 'pending' | 'acquired' | 'completed' | 'failure' | 'cancelled' | 'expired' | 'remembered';
  readonly request_id: string | null;
  readonly registered_at_ms: number | null;
  readonly last_seen_at_ms: number;
  readonly hold_ttl_ms: number | null;
  readonly delays_counted: number;
  readonly fencing_token: number | null;
  readonly acquired_at_ms: number | null;
  readonly expires_at_ms: number | null;
  readonly ended_at_ms: number | null;
  readonly is_known: boolean;
}

/** All that a decision about a merge queue is made from, of one moment. */
export interface StoredMergeQueue {
  readonly nowMs: number;
  /** Higher than any token of the queue. */
  readonly nextToken: number;
  /** null = there is none of that name. */
  readonly queue: {
    readonly version: number;
    readonly auto_created: boolean;
    readonly window_started_at_ms: number;
    readonly fencing_token: number;
    readonly settings: MergeQueueSettings;
  } | null;
  readonly requests: readonly StoredRequest[];
  /** When the database failed over, and may have lost leases; null = it did not. */
  readonly failoverAtMs: number | null;
}

/** Something to tell in the feed. */
export interface StoredEvent {
  readonly type: string;
  readonly claim_id: string | null;
  readonly data: Readonly<Record<string, unknown>>;
}

/** A build that is over, for the history. */
export interface StoredEnd {
  readonly claim_id: string;
  readonly holder: string;
  readonly state: 'released' | 'cancelled' | 'expired' | 'broken' | 'superseded';
  readonly reason: string;
  readonly outcome: string | null;
  readonly fencing_token: number | null;
  readonly priority: number;
  readonly metadata: Readonly<Record<string, unknown>>;
  readonly registered_at_ms: number;
  readonly acquired_at_ms: number | null;
  readonly expires_at_ms: number | null;
  readonly actor: string | null;
}

export interface MergeQueueChange {
  readonly owner: string;
  readonly repo: string;
  readonly base_ref: string;
  readonly settings: MergeQueueSettings;
  readonly window_started_at_ms: number;
  readonly fencing_token: number;
  readonly due_at_ms: number | null;
  /** Somebody who waits may be concerned. */
  readonly has_news: boolean;
  /** That of the state it was decided on. */
  readonly failover_at_ms?: number | null;
  readonly requests: readonly StoredRequest[];
  readonly events: readonly StoredEvent[];
  readonly ended: readonly StoredEnd[];
}

interface MergeQueueDocument {
  readonly now_ms: string;
  readonly next_token: string;
  readonly queue: StoredMergeQueue['queue'];
  readonly requests: readonly StoredRequest[];
  readonly failover_at_ms: string | null;
}

function storedMergeQueue({
  now_ms: nowMs,
  next_token: nextToken,
  queue,
  requests,
  failover_at_ms: failoverAtMs,
}: MergeQueueDocument): StoredMergeQueue {
  return {
    nowMs: Number(nowMs),
    nextToken: Number(nextToken),
    queue,
    requests,
    failoverAtMs: failoverAtMs === null ? null : Number(failoverAtMs),
  };
}

export async function readMergeQueue(db: Database, queue: string, lane: Lane): Promise<StoredMergeQueue> {
  const [row] = await db.query<MergeQueueDocument>(lane, {
    sql: 'select * from signalbox_v1.read_merge_queue($1)',
    parameters: [queue],
  });
  if (row === undefined) throw new Error('read_merge_queue returned nothing');
  return storedMergeQueue(row);
}

/** Merge queues by name, behind `after`, whose names begin with `prefix`. */
export async function readStoredMergeQueues(
  db: Database,
  { prefix, after, limit }: { readonly prefix: string; readonly after: string; readonly limit: number },
): Promise<readonly { readonly name: string; readonly queue: StoredMergeQueue }[]> {
  const rows = await db.query<MergeQueueDocument & { name: string }>('read', {
    sql: `select q.queue as name, r.* from signalbox.merge_queues q, signalbox_v1.read_merge_queue(q.queue) r
          where starts_with(q.queue, $1) and q.queue > $2 order by q.queue limit $3`,
    parameters: [prefix, after, limit],
  });
  return rows.map((row) => ({ name: row.name, queue: storedMergeQueue(row) }));
}

export interface SaveOptions {
  /** The version the decision was made on; 0 = there was no such queue. */
  readonly version: number;
  /** `nowMs` of what it was made on. */
  readonly decidedAtMs: number;
  readonly lane: Lane;
  /** The write is one of the leader's: throws SB001 ('deposed') if the term is over. */
  readonly term?: Term | undefined;
}

/** False = nothing was written, since somebody else wrote first or it took too long: read and decide again. */
export async function saveMergeQueue(
  db: Database,
  queue: string,
  change: MergeQueueChange,
  { version, decidedAtMs, lane, term }: SaveOptions,
): Promise<boolean> {
  const [row] = await db.query<{ saved: boolean }>(lane, {
    sql: 'select signalbox_v1.save_merge_queue($1, $2, $3, $4, $5, $6) as saved',
    parameters: [queue, version, decidedAtMs, JSON.stringify(change), term?.replicaId ?? null, term?.epoch ?? null],
  });
  return row?.saved === true;
}

export interface ConfigureMergeQueue {
  readonly owner: string;
  readonly repo: string;
  readonly baseRef: string;
  readonly name: string;
}

/** The new version of the settings; undefined = `ifVersion` is not the present one. */
export async function configureMergeQueue(
  db: Database,
  { name, owner, repo, baseRef }: ConfigureMergeQueue,
  change: MergeQueueSettingsChange,
  options: { defaults: MergeQueueSettings; ifVersion: number | undefined; actor: string | undefined },
): Promise<number | undefined> {
  const [row] = await db.query<{ version: string | null }>('contended', {
    sql: 'select signalbox_v1.configure_merge_queue($1, $2, $3, $4, $5, $6, $7, $8) as version',
    parameters: [
      name,
      owner,
      repo,
      baseRef,
      JSON.stringify(change),
      JSON.stringify(options.defaults),
      options.ifVersion ?? null,
      options.actor ?? null,
    ],
  });
  return row?.version === null || row === undefined ? undefined : Number(row.version);
}

export type MergeQueueDeletion = 'deleted' | 'merge_queue_not_found' | 'merge_queue_in_use' | 'version_mismatch';

export async function deleteMergeQueue(
  db: Database,
  name: string,
  options: { force: boolean; ifVersion: number | undefined; actor: string | undefined },
): Promise<MergeQueueDeletion> {
  const [row] = await db.query<{ outcome: MergeQueueDeletion }>('contended', {
    sql: 'select signalbox_v1.delete_merge_queue($1, $2, $3, $4) as outcome',
    parameters: [name, options.force, options.ifVersion ?? null, options.actor ?? null],
  });
  return row?.outcome ?? 'merge_queue_not_found';
}

/** How the grant of this build with this token ended, if history still knows: its outcome, or why it ended without one. */
export async function readMergeGrantEnd(
  db: Database,
  queue: string,
  headSha: string,
  fencingToken: number,
): Promise<{ readonly outcome: string | null; readonly reason: string } | undefined> {
  const [row] = await db.query<{ outcome: string | null; reason: string }>('read', {
    sql: `select h.outcome, h.reason from signalbox.history h
          where h.queue = $1 and h.claim_id = $2 and h.fencing_token = $3 and h.kind = 'merge_request'
          order by h.ended_at desc limit 1`,
    parameters: [queue, headSha, fencingToken],
  });
  return row;
}

/** Merge queues the reaper has to look at, the longest due first. */
export async function readDueMergeQueues(db: Database, limit: number): Promise<readonly string[]> {
  const rows = await db.query<{ queue: string }>('sweep', {
    sql: `select q.queue from signalbox.merge_queues q where q.due_at <= (select signalbox.clock()) order by q.due_at limit $1`,
    parameters: [limit],
  });
  return rows.map(({ queue }) => queue);
}

/** How many idle merge queues went, at most 100. Throws SB001 ('deposed') if the term is over. */
export async function sweepIdleMergeQueues(db: Database, term: Term, idleMs: number): Promise<number> {
  const [row] = await db.query<{ gone: number }>('sweep', {
    sql: 'select signalbox_v1.sweep_idle_merge_queues($1, $2, $3) as gone',
    parameters: [term.replicaId, term.epoch, idleMs],
  });
  return row?.gone ?? 0;
}

/** A number that moves with everything that may concern who waits in a merge queue, for each of those that exist. */
export async function readMergeQueueNews(
  db: Database,
  queues: readonly string[],
): Promise<ReadonlyMap<string, string>> {
  const rows = await db.query<{ queue: string; news: string }>('read', {
    sql: 'select q.queue, q.news from signalbox.merge_queues q where q.queue = any($1)',
    parameters: [queues],
  });
  return new Map(rows.map(({ queue, news }) => [queue, news]));
}

/** Merge queues by name, behind `after`, whose name begins with `prefix`. */
export function readMergeQueues(
  db: Database,
  { prefix, after, limit }: { readonly prefix: string; readonly after: string; readonly limit: number },
): Promise<readonly MergeQueueRow[]> {
  return db.query<MergeQueueRow>(
    'read',
    compiler
      .selectFrom('signalbox_v1.merge_queues')
      .selectAll()
      .where('queue', '>=', prefix)
      .where((where) => (prefix === '' ? where.lit(true) : where('queue', '<', behindPrefix(prefix))))
      .where('queue', '>', after)
      .orderBy('queue')
      .limit(limit)
      .compile(),
  );
}

export async function readMergeQueueRow(db: Database, queue: string): Promise<MergeQueueRow | undefined> {
  const [row] = await db.query<MergeQueueRow>(
    'read',
    compiler.selectFrom('signalbox_v1.merge_queues').selectAll().where('queue', '=', queue).compile(),
  );
  return row;
}

/** The builds of these merge queues: of each the holder first, then those that wait, in order, at most `pendingMax` of them. */
export async function readMergeRequests(
  db: Database,
  queues: readonly string[],
  pendingMax: number,
): Promise<readonly MergeRequestRow[]> {
  if (queues.length === 0) return [];
  return db.query<MergeRequestRow>(
    'read',
    compiler
      .selectFrom('signalbox_v1.merge_requests')
      .selectAll()
      .where('queue', 'in', queues)
      .where((where) => where.or([where('position', 'is', null), where('position', '<=', String(pendingMax))]))
      .compile(),
  );
}
