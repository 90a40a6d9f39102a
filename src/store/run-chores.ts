import type { Database } from './database.ts';
import { type Decision, rowsPerCall, type Term } from './decisions.ts';

/** One page of a sweep whose cursor is its own; no cursor = the round is over. */
export interface RunSweepPage<Next> {
  readonly decisions: readonly Decision[];
  readonly next: Next | undefined;
}

/** Behind which queue of the inbox, and whether one before it had more rows than a page takes. */
export interface InboxCursor {
  readonly queue: string;
  readonly more: boolean;
}

/** Behind which row, in order of time. */
export interface TimeCursor {
  readonly at: string;
  readonly queue: string;
  readonly claim_id: string;
}

/**
 * Runs enqueued from SQL, into their lines; rows that find no room stay. Code `queue_missing`: rows wait for a queue that
 * does not exist.
 */
export function sweepInbox(
  db: Database,
  term: Term,
  after: InboxCursor | undefined,
): Promise<RunSweepPage<InboxCursor>> {
  return sweep(
    db,
    'select * from signalbox_v1.sweep_inbox($1, $2, $3, $4, $5)',
    [term.replicaId, term.epoch, after?.queue ?? '', after?.more ?? false, rowsPerCall],
    ({ queue, body }) => ({ queue, more: body?.['more'] === true }),
  );
}

/** One page of a sweep in order of time. */
type TimeSweep = (db: Database, term: Term, after: TimeCursor | undefined) => Promise<RunSweepPage<TimeCursor>>;

function timeSweep(sql: string): TimeSweep {
  return (db, { replicaId, epoch }, after) =>
    sweep(db, sql, [replicaId, epoch, ...place(after), rowsPerCall], timeCursor);
}

/** Claims and runs whose time has come, into their lines. */
export const sweepDue = timeSweep('select * from signalbox_v1.sweep_due($1, $2, $3, $4, $5, $6)');

/** Runs that are older than they may be and that nobody holds. */
export const sweepOverdue = timeSweep('select * from signalbox_v1.sweep_overdue($1, $2, $3, $4, $5, $6)');

/** Claims that waited for longer than their max_wait_ms. */
export const sweepWaitTimeouts = timeSweep('select * from signalbox_v1.sweep_wait_timeouts($1, $2, $3, $4, $5, $6)');

/** Dead letters that block nobody and were left alone for `retentionMs`. */
export function sweepDeadLetters(
  db: Database,
  term: Term,
  retentionMs: number,
  after: TimeCursor | undefined,
): Promise<RunSweepPage<TimeCursor>> {
  return sweep(
    db,
    'select * from signalbox_v1.sweep_dead_letters($1, $2, $3, $4, $5, $6, $7)',
    [term.replicaId, term.epoch, retentionMs, ...place(after), rowsPerCall],
    timeCursor,
  );
}

function place(after: TimeCursor | undefined): readonly string[] {
  return [after?.at ?? '-infinity', after?.queue ?? '', after?.claim_id ?? ''];
}

function timeCursor({ queue, claim_id: claimId, body }: Decision): TimeCursor {
  return { at: String(body?.['at']), queue, claim_id: claimId ?? '' };
}

async function sweep<Next>(
  db: Database,
  sql: string,
  parameters: readonly unknown[],
  cursor: (row: Decision) => Next,
): Promise<RunSweepPage<Next>> {
  const rows = await db.query<Decision>('sweep', { sql, parameters });
  const next = rows.find(({ code }) => code === 'next');
  return {
    decisions: rows.filter(({ code }) => code !== 'next'),
    next: next === undefined ? undefined : cursor(next),
  };
}
