import type { Epoch, ReplicaId } from '../protocol/ids.ts';
import type { Database, Lane } from './database.ts';
import { heldDecision } from './new-grants.ts';

/** One outcome of a verb. `item` is the index of the operation it answers; null: it happened to somebody else's claim. */
export interface Decision {
  readonly item: number | null;
  readonly code: string;
  readonly queue: string;
  readonly claim_id: string | null;
  readonly body: Readonly<Record<string, unknown>> | null;
}

/** Members that are left out, or undefined, have the defaults of the contract: the fewer there are, the less is parsed. */
export interface AcquireOperation {
  readonly op: 'acquire';
  readonly queue: string;
  readonly claim_id: string;
  readonly holder: string;
  readonly priority?: number | undefined;
  readonly ttl_ms?: number | undefined;
  readonly mode?: string | undefined;
  readonly labels?: Readonly<Record<string, string>> | undefined;
  readonly metadata?: Readonly<Record<string, unknown>> | undefined;
  readonly weight?: number | undefined;
  /** More queues, all or none. */
  readonly also?: readonly { readonly queue: string; readonly weight: number }[] | undefined;
  readonly max_wait_ms?: number | undefined;
  readonly batch?: string | undefined;
  readonly batch_rank?: number | undefined;
  /** How long the client will listen for the grant from now on. */
  readonly listen_ms?: number | undefined;
  /** The id was made by this server just now, so it cannot be known yet. */
  readonly fresh?: boolean | undefined;
}
export interface ReleaseOperation {
  readonly op: 'release';
  readonly queue: string;
  readonly claim_id: string;
  readonly fencing_token: number;
  readonly outcome?: string | undefined;
  readonly retry_after_ms?: number | undefined;
  readonly error?: string | undefined;
  readonly uncounted?: boolean | undefined;
  /** Ends it only if this is who holds. */
  readonly holder?: string | undefined;
}
/** Gives back a run whose taker never got the answer: the attempt does not count. */
export interface ReturnOperation {
  readonly op: 'return';
  readonly queue: string;
  readonly claim_id: string;
  readonly fencing_token: number;
  /** Of the take: it counts as never made. */
  readonly request_id: string | undefined;
}
export interface EnqueueOperation {
  readonly op: 'enqueue';
  readonly queue: string;
  readonly claim_id: string;
  /** JSON text; undefined = null. */
  readonly payload: string | undefined;
  readonly priority: number;
  readonly labels: Readonly<Record<string, string>>;
  readonly delay_ms: number;
  readonly max_attempts: number | undefined;
  readonly max_age_ms: number | undefined;
  readonly batch?: string | undefined;
  readonly batch_rank?: number | undefined;
  /** The id was made here, so nobody can know it yet. */
  readonly fresh: boolean;
}
export interface CancelOperation {
  readonly op: 'cancel';
  readonly queue: string;
  readonly claim_id: string;
}
export interface BreakOperation {
  readonly op: 'break';
  readonly queue: string;
  readonly claim_id: string;
  readonly reason: string;
  readonly actor: string;
}
export type Operation =
  AcquireOperation | ReleaseOperation | ReturnOperation | EnqueueOperation | CancelOperation | BreakOperation;

export interface RenewOperation {
  readonly queue: string;
  readonly claim_id: string;
  readonly fencing_token: number;
  readonly ttl_ms?: number | undefined;
  /** Renews only if this is who holds. */
  readonly holder?: string | undefined;
  /** A ttl_ms above the queue's max_ttl_ms is that, instead of refused. */
  readonly shorten?: boolean | undefined;
}

export interface ClaimKey {
  readonly queue: string;
  readonly claim_id: string;
}

/** Decides a batch. Lines held by others are skipped (code `line_busy`); nothing is waited for but lease rows. */
export async function decide(db: Database, operations: readonly Operation[]): Promise<readonly Decision[]> {
  const sql = 'select * from signalbox_v1.decide($1, false, true)';
  return wholeDecisions(operations, await call(db, 'decide', sql, [JSON.stringify(operations)]));
}

/** Decides operations of one queue and waits for its line, at most 250 ms (SQLSTATE 55P03). */
export async function decideWaiting(db: Database, operations: readonly Operation[]): Promise<readonly Decision[]> {
  const sql = 'select * from signalbox_v1.decide($1, true, true)';
  return wholeDecisions(operations, await call(db, 'contended', sql, [JSON.stringify(operations)]));
}

/** Decisions as this module promises them: a grant has its whole lease. */
export function wholeDecisions(operations: readonly Operation[], decisions: readonly Decision[]): readonly Decision[] {
  return decisions.map((decision) => {
    if (decision.code !== 'granted') return decision;
    const operation = decision.item === null ? undefined : operations[decision.item];
    if (operation?.op !== 'acquire') throw new Error(`a grant answers no acquire of ${decision.queue}`);
    return heldDecision(operation, decision);
  });
}

/** Renews leases. It locks lease rows only, in (queue, slot) order. */
export function renew(db: Database, items: readonly RenewOperation[]): Promise<readonly Decision[]> {
  return call(db, 'renew', 'select * from signalbox_v1.renew($1, true)', [JSON.stringify(items)]);
}

/** Reads claims without any line's lock; with `hear` their clients count as heard and offers become full leases. */
export function look(
  db: Database,
  items: readonly ClaimKey[],
  options: { readonly hear: boolean },
): Promise<readonly Decision[]> {
  return call(db, 'read', 'select * from signalbox_v1.look($1, $2)', [JSON.stringify(items), options.hear]);
}

/** What a replica must know of the claims whose clients wait on it: `can_advance` a queue, `moved` a claim. */
export function watch(db: Database, items: readonly ClaimKey[]): Promise<readonly Decision[]> {
  return call(db, 'read', 'select * from signalbox_v1.watch($1)', [JSON.stringify(items)]);
}

/** Marks waiting claims as heard and as listened to for `listenMs` from now; 0: their clients hung up. */
export async function hear(db: Database, items: readonly ClaimKey[], listenMs: number): Promise<void> {
  await db.query('read', { sql: 'select signalbox_v1.hear($1, $2)', parameters: [JSON.stringify(items), listenMs] });
}

/** Makes queues that do not exist yet, with the defaults. */
export async function ensureQueues(db: Database, queues: readonly string[]): Promise<void> {
  await db.query('contended', { sql: 'select signalbox_v1.ensure_queues($1)', parameters: [queues] });
}

/** How many rows one call of `advance` or of a sweep changes at most; as many back = call again. */
export const rowsPerCall = 100;

/**
 * Ends what ran out in these queues and hands free places to their lines. Lines held by others are skipped, or with `wait`
 * waited for in name order, at most 100 ms each (SQLSTATE 55P03).
 */
export function advance(
  db: Database,
  queues: readonly string[],
  { wait = false }: { readonly wait?: boolean } = {},
): Promise<readonly Decision[]> {
  const sql = 'select * from signalbox_v1.advance($1, $2, $3)';
  return call(db, 'contended', sql, [queues, rowsPerCall, wait]);
}

/** Changes a queue's settings under its line's lock. */
export function configureQueue(
  db: Database,
  queue: string,
  change: Readonly<Record<string, unknown>>,
  options: { readonly ifVersion: number | undefined; readonly actor: string | undefined },
): Promise<readonly Decision[]> {
  return call(db, 'contended', 'select * from signalbox_v1.configure($1, $2, $3, $4)', [
    queue,
    JSON.stringify(change),
    options.ifVersion ?? null,
    options.actor ?? null,
  ]);
}

/** Deletes a queue under its line's lock. */
export function deleteQueue(
  db: Database,
  queue: string,
  options: { readonly force: boolean; readonly ifVersion: number | undefined; readonly actor: string | undefined },
): Promise<readonly Decision[]> {
  return call(db, 'contended', 'select * from signalbox_v1.delete_queue($1, $2, $3, $4)', [
    queue,
    options.force,
    options.ifVersion ?? null,
    options.actor ?? null,
  ]);
}

/** The term in whose name a write of the leader is made. */
export interface Term {
  readonly replicaId: ReplicaId;
  readonly epoch: Epoch;
}

export type Cursor = { readonly queue: string; readonly claim_id: string };

/** One page of a sweep: what changed, and where the next page begins; no cursor = the round is over. */
export interface SweepPage {
  readonly decisions: readonly Decision[];
  readonly next: Cursor | undefined;
}

/** Lines that could move: lost wake-ups, leases that ran out while somebody waits. */
export function sweepLines(db: Database, term: Term, after: Cursor | undefined): Promise<SweepPage> {
  return sweep(db, 'select * from signalbox_v1.sweep_lines($1, $2, $3, $4)', [
    term.replicaId,
    term.epoch,
    after?.queue ?? '',
    rowsPerCall,
  ]);
}

/** Leases that ran out where nobody waits. */
export function sweepLeases(db: Database, term: Term, after: Cursor | undefined): Promise<SweepPage> {
  return sweep(db, 'select * from signalbox_v1.sweep_leases($1, $2, $3, $4)', [
    term.replicaId,
    term.epoch,
    after?.queue ?? '',
    rowsPerCall,
  ]);
}

/** Waiting claims whose client has been silent too long. */
export function sweepSilent(db: Database, term: Term, after: Cursor | undefined): Promise<SweepPage> {
  return sweep(db, 'select * from signalbox_v1.sweep_silent($1, $2, $3, $4, $5)', [
    term.replicaId,
    term.epoch,
    after?.queue ?? '',
    after?.claim_id ?? '',
    rowsPerCall,
  ]);
}

/** Queues made on first use that nobody has used for `idleMs`. */
export function sweepIdleQueues(
  db: Database,
  term: Term,
  idleMs: number,
  after: Cursor | undefined,
): Promise<SweepPage> {
  return sweep(db, 'select * from signalbox_v1.sweep_idle_queues($1, $2, $3, $4, $5)', [
    term.replicaId,
    term.epoch,
    idleMs,
    after?.queue ?? '',
    rowsPerCall,
  ]);
}

/** How much a call changed: what only says that a run may be taken, or lines be advanced, is no change. */
export function changesIn(decisions: readonly Decision[]): number {
  return decisions.filter(({ code }) => code !== 'ready' && code !== 'stir').length;
}

async function sweep(db: Database, sql: string, parameters: readonly unknown[]): Promise<SweepPage> {
  const rows = await call(db, 'sweep', sql, parameters);
  const next = rows.find(({ code }) => code === 'next');
  return {
    decisions: rows.filter(({ code }) => code !== 'next'),
    next: next === undefined ? undefined : { queue: next.queue, claim_id: next.claim_id ?? '' },
  };
}

function call(db: Database, lane: Lane, sql: string, parameters: readonly unknown[]): Promise<readonly Decision[]> {
  return db.query<Decision>(lane, { sql, parameters });
}
