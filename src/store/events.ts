import type { Database } from './database.ts';

/** Where a reader of the feed stands: behind the event of this transaction and number. */
export interface EventCursor {
  readonly xid: string;
  readonly id: string;
}

export interface EventRow {
  readonly cursor_xid: string;
  readonly cursor_id: string;
  readonly happened_at: string;
  readonly type: string;
  readonly queue: string | null;
  readonly claim_id: string | null;
  readonly data: Readonly<Record<string, unknown>>;
}

export interface EventFilter {
  readonly queue: string | undefined;
  /** '' = of all queues. */
  readonly prefix: string;
  /** All of these; undefined = whatever labels. */
  readonly labels?: Readonly<Record<string, string>> | undefined;
  readonly limit: number;
}

/** Before the oldest event that is kept. */
export const oldestEvent: EventCursor = { xid: '0', id: '0' };

/** Events behind the cursor, in order, none of them of a transaction that an older one may still precede. */
export function readEvents(db: Database, after: EventCursor, filter: EventFilter): Promise<readonly EventRow[]> {
  return db.query<EventRow>('read', {
    sql: 'select * from signalbox_v1.read_events($1, $2, $3, $4, $5, $6)',
    parameters: [after.xid, after.id, filter.queue ?? null, filter.prefix, filter.limit, labelsOf(filter)],
  });
}

function labelsOf({ labels }: EventFilter): string | null {
  return labels === undefined ? null : JSON.stringify(labels);
}

/** Where the feed ends now, as a reader may see it. */
export async function newestEvent(db: Database): Promise<EventCursor> {
  const [row] = await db.query<EventCursor>('read', {
    sql: `select e.xid::text as xid, e.id::text as id from signalbox.events e
          where e.xid < pg_snapshot_xmin(pg_current_snapshot()) order by e.xid desc, e.id desc limit 1`,
    parameters: [],
  });
  return row ?? oldestEvent;
}
