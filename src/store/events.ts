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

/** What the filter lets through of the next `count` events. `until`: the last of these; undefined if there are none at all. */
export interface Stretch {
  readonly rows: readonly EventRow[];
  readonly until: EventCursor | undefined;
  /** There are more behind it. */
  readonly isMore: boolean;
}

type StretchRow = { [Column in keyof EventRow]: EventRow[Column] | null } & {
  readonly until_xid: string | null;
  readonly until_id: string | null;
  readonly is_more: boolean;
};

/** As `readEvents`, but passes over `count` events at most. */
export async function readStretch(
  db: Database,
  after: EventCursor,
  filter: EventFilter,
  count: number,
): Promise<Stretch> {
  const rows = await db.query<StretchRow>('read', {
    // The horizon is asked for once: rows of another one than `until` would leave some out, and they were never seen.
    sql: `with horizon as materialized (select signalbox.feed_horizon() as xid)
          select u.xid::text as until_xid, u.id::text as until_id, u.is_more, r.*
          from (
            select coalesce(b.xid, n.xid) as xid, coalesce(b.id, n.id) as id, b.xid is not null as is_more
            from (select) one
            left join lateral (
              select e.xid, e.id from signalbox.events e
              where (e.xid, e.id) > (($1::text)::xid8, $2::bigint) and e.xid < (select h.xid from horizon h)
              order by e.xid, e.id offset $7::bigint limit 1) b on true
            left join lateral (
              select e.xid, e.id from signalbox.events e
              where b.xid is null and e.xid < (select h.xid from horizon h)
              order by e.xid desc, e.id desc limit 1) n on true) u
          left join lateral signalbox_v1.read_events($1::text, $2::bigint, $3::text, $4::text, $5::integer, $6::jsonb,
            u.xid::text, u.id, (select h.xid::text from horizon h)) r on true`,
    parameters: [after.xid, after.id, filter.queue ?? null, filter.prefix, filter.limit, labelsOf(filter), count],
  });
  const [first] = rows;
  return {
    rows: rows.filter((row): row is StretchRow & EventRow => row.cursor_xid !== null),
    until:
      first?.until_xid == null || first.until_id === null ? undefined : { xid: first.until_xid, id: first.until_id },
    isMore: first?.is_more ?? false,
  };
}

function labelsOf({ labels }: EventFilter): string | null {
  return labels === undefined ? null : JSON.stringify(labels);
}

/** Where the feed ends now, as a reader may see it. */
export async function newestEvent(db: Database): Promise<EventCursor> {
  const [row] = await db.query<EventCursor>('read', {
    sql: `select e.xid::text as xid, e.id::text as id from signalbox.events e
          where e.xid < (select signalbox.feed_horizon()) order by e.xid desc, e.id desc limit 1`,
    parameters: [],
  });
  return row ?? oldestEvent;
}
