import { compiler, type Database } from './database.ts';
import type { Tables } from './tables.ts';

export type QueueRow = Tables['signalbox_v1.queues'];
export type LeaseRow = Tables['signalbox_v1.leases'];
export type LineRow = Tables['signalbox_v1.line'];

/** One queue with its counts; `undefined` = there is none of that name. */
export async function readQueue(db: Database, queue: string): Promise<QueueRow | undefined> {
  const [row] = await db.query<QueueRow>(
    'read',
    compiler.selectFrom('signalbox_v1.queues').selectAll().where('queue', '=', queue).compile(),
  );
  return row;
}

/** Queues by name, behind `after`, whose name begins with `prefix`. */
export function readQueues(
  db: Database,
  options: { readonly prefix: string; readonly after: string; readonly limit: number },
): Promise<readonly QueueRow[]> {
  return db.query<QueueRow>(
    'read',
    compiler
      .selectFrom('signalbox_v1.queues')
      .selectAll()
      // Names are of COLLATE "C": all that begin with the prefix lie between it and it with its last character raised.
      .where('queue', '>=', options.prefix)
      .where((where) => (options.prefix === '' ? where.lit(true) : where('queue', '<', behindPrefix(options.prefix))))
      .where('queue', '>', options.after)
      .orderBy('queue')
      .limit(options.limit)
      .compile(),
  );
}

/** The first `limit` holders by slot. */
export function readHolders(db: Database, queue: string, limit: number): Promise<readonly LeaseRow[]> {
  return db.query<LeaseRow>(
    'read',
    compiler
      .selectFrom('signalbox_v1.leases')
      .select(['queue', 'slot', 'claim_id', 'holder', 'fencing_token', 'ttl_remaining_ms', 'expired_not_reaped'])
      .select(['release_requested', 'offered', 'acquired_at', 'expires_at', 'kind'])
      .where('queue', '=', queue)
      .orderBy('slot')
      .limit(limit)
      .compile(),
  );
}

/** The first `limit` waiting claims in order. */
export function readLine(db: Database, queue: string, limit: number): Promise<readonly LineRow[]> {
  return db.query<LineRow>(
    'read',
    compiler
      .selectFrom('signalbox_v1.line')
      .select([
        'queue',
        'position',
        'claim_id',
        'holder',
        'priority',
        'waiting_for',
        'why',
        'estimated_wait_ms',
        'enqueued_at',
      ])
      .where('queue', '=', queue)
      // Without it the view would explain the whole line, and then give its head.
      .where('position', '<=', String(limit))
      .orderBy('position')
      .limit(limit)
      .compile(),
  );
}

export interface RunLineRow {
  readonly claim_id: string;
  readonly position: number;
  readonly priority: number;
  readonly attempts: number;
  readonly waiting_for: string;
  readonly enqueued_at: Date;
}

/** The first `limit` runs in line, at most 1,000, in order. */
export function readRunLine(db: Database, queue: string, limit: number): Promise<readonly RunLineRow[]> {
  // Their ids first: the view would work out the position of every run of the line.
  return db.query<RunLineRow>('read', {
    sql: `select r.claim_id, r.position, r.priority, r.attempts, r.waiting_for, r.enqueued_at
          from signalbox_v1.runs r
          where r.queue = $1 and r.state = 'waiting' and r.claim_id = any(array(
            select w.claim_id from signalbox.waiting w where w.queue = $1 and w.kind = 'run'
            order by w.place, w.seq, w.rank limit $2))
          order by r.position`,
    parameters: [queue, limit],
  });
}

/**
 * The newest token of a slot, and whether an unexpired lease bears exactly `token`. `no_queue` = there is none of that
 * name; a slot never used has no newest token.
 */
export async function checkToken(
  db: Database,
  queue: string,
  slot: number,
  token: number,
): Promise<
  | { readonly kind: 'no_queue' }
  | { readonly kind: 'checked'; readonly newest: number | null; readonly current: boolean }
> {
  const [row] = await db.query<{ newest: string | null; current: boolean }>('read', {
    sql: `select l.fencing_token as newest,
            coalesce(l.state = 'held' and l.fencing_token = $3 and l.expires_at > signalbox.clock(), false) as current
          from signalbox.lines n
          left join signalbox.leases l on l.queue = n.queue and l.slot = $2
          where n.queue = $1`,
    parameters: [queue, slot, token],
  });
  if (row === undefined) return { kind: 'no_queue' };
  return { kind: 'checked', newest: row.newest === null ? null : Number(row.newest), current: row.current };
}

export function behindPrefix(prefix: string): string {
  return prefix.slice(0, -1) + String.fromCharCode(prefix.charCodeAt(prefix.length - 1) + 1);
}
