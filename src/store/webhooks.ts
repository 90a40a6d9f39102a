import type { Database } from './database.ts';
import type { Decision, Term } from './decisions.ts';
import type { EventCursor, EventRow } from './events.ts';

/** A webhook as people may see it: without its secret. */
export interface WebhookRow {
  readonly name: string;
  readonly url: string;
  readonly queue_prefix: string;
  readonly types: string[] | null;
  readonly labels: Readonly<Record<string, string>> | null;
  readonly enabled: boolean;
  readonly allow_http: boolean;
  readonly lag_ms: string;
  readonly failures: number;
  readonly next_attempt_at: Date | null;
  readonly last_attempt_at: Date | null;
  readonly last_status: number | null;
  readonly last_error: string | null;
  readonly delivered_at: Date | null;
  readonly may_have_lost_at: Date | null;
  readonly version: string;
  readonly created_at: Date;
  readonly updated_at: Date;
  readonly updated_by: string | null;
}

/** What it takes to go on with a webhook. */
export interface DueWebhook {
  readonly name: string;
  readonly version: number;
  readonly enabled: boolean;
  readonly url: string;
  readonly secret: string;
  readonly queuePrefix: string;
  readonly types: readonly string[] | null;
  /** Only events of claims that have all of these. */
  readonly labels: Readonly<Record<string, string>> | null;
  readonly cursor: EventCursor;
  readonly failures: number;
  /** Until the next attempt, by the database's clock. */
  readonly dueInMs: number;
  readonly lagMs: number;
}

interface ChangeOptions {
  readonly ifVersion: number | undefined;
  readonly actor: string | undefined;
}

/** Makes a webhook at the end of the feed, or replaces its settings; `newSecret` is taken if it has none yet. */
export function setWebhook(
  db: Database,
  name: string,
  settings: Readonly<Record<string, unknown>>,
  { newSecret, ifVersion, actor }: ChangeOptions & { readonly newSecret: string },
): Promise<readonly Decision[]> {
  return db.query<Decision>('contended', {
    sql: 'select * from signalbox_v1.set_webhook($1, $2, $3, $4, $5)',
    parameters: [name, JSON.stringify(settings), newSecret, ifVersion ?? null, actor ?? null],
  });
}

export function deleteWebhook(
  db: Database,
  name: string,
  { ifVersion, actor }: ChangeOptions,
): Promise<readonly Decision[]> {
  return db.query<Decision>('contended', {
    sql: 'select * from signalbox_v1.delete_webhook($1, $2, $3)',
    parameters: [name, ifVersion ?? null, actor ?? null],
  });
}

/** Where a test goes, and the event that it is. */
export type BegunWebhookTest = EventRow & Pick<DueWebhook, 'url' | 'secret'>;

/** Writes down that a webhook is tested; undefined = there is none of this name, and nothing was written. */
export async function beginWebhookTest(
  db: Database,
  name: string,
  actor: string | undefined,
): Promise<BegunWebhookTest | undefined> {
  const [begun] = await db.query<BegunWebhookTest>('contended', {
    sql: 'select * from signalbox_v1.begin_webhook_test($1, $2)',
    parameters: [name, actor ?? null],
  });
  return begun;
}

/** All webhooks by name, or the one of this name. */
export function readWebhooks(db: Database, name?: string): Promise<readonly WebhookRow[]> {
  return db.query<WebhookRow>('read', {
    sql: `select v.*, w.url, w.allow_http from signalbox_v1.webhooks v join signalbox.webhooks w using (name)
          where $1::text is null or v.name = $1 order by v.name collate "C"`,
    parameters: [name ?? null],
  });
}

/** For the leader: all webhooks with all it takes to go on with them. */
export async function readDueWebhooks(db: Database): Promise<readonly DueWebhook[]> {
  const rows = await db.query<{
    name: string;
    version: string;
    enabled: boolean;
    url: string;
    secret: string;
    queue_prefix: string;
    types: string[] | null;
    labels: Record<string, string> | null;
    xid: string;
    id: string;
    failures: number;
    due_in_ms: string;
    lag_ms: string;
  }>('sweep', {
    sql: `select w.name, w.version, w.enabled, w.url, w.secret, w.queue_prefix, w.types, w.labels, w.cursor_xid::text as xid,
            w.cursor_id::text as id, w.failures, v.lag_ms,
            coalesce(signalbox.ms_until(w.next_attempt_at, signalbox.clock()), 0) as due_in_ms
          from signalbox.webhooks w join signalbox_v1.webhooks v using (name) order by w.name`,
    parameters: [],
  });
  return rows.map(({ xid, id, queue_prefix: queuePrefix, due_in_ms: due, lag_ms: lag, version, ...row }) => ({
    ...row,
    version: Number(version),
    queuePrefix,
    cursor: { xid, id },
    dueInMs: Number(due),
    lagMs: Number(lag),
  }));
}

/** Part of the feed as a webhook looks at it: the events it is for, and how far the look went. */
export interface WebhookEvents {
  readonly rows: readonly EventRow[];
  /** Behind the last event looked at; undefined = there was none. */
  readonly end: (EventCursor & { readonly at: string }) | undefined;
}

/** The next `scan` events behind the cursor, those that the webhook is not for left out. */
export async function readWebhookEvents(
  db: Database,
  after: EventCursor,
  {
    queuePrefix,
    types,
    labels,
    scan,
  }: Pick<DueWebhook, 'queuePrefix' | 'types' | 'labels'> & { readonly scan: number },
): Promise<WebhookEvents> {
  const rows = await db.query<EventRow & { concerns: boolean }>('read', {
    sql: `select s.cursor_xid, s.cursor_id, s.happened_at, s.type, s.queue, s.claim_id, s.data, s.concerns
          from (select e.*, count(*) over () as scanned,
                  ($3 = '' or starts_with(coalesce(e.queue, ''), $3)) and ($4::text[] is null or e.type = any($4))
                    and ($6::jsonb is null or coalesce(e.data -> 'labels' @> $6, false)) as concerns
                from signalbox_v1.read_events($1, $2, null, '', $5)
                  with ordinality e(cursor_xid, cursor_id, happened_at, type, queue, claim_id, data, place)) s
          where s.concerns or s.place = s.scanned order by s.place`,
    parameters: [after.xid, after.id, queuePrefix, types, scan, labels === null ? null : JSON.stringify(labels)],
  });
  const last = rows.at(-1);
  return {
    rows: rows.filter(({ concerns }) => concerns),
    end: last === undefined ? undefined : { xid: last.cursor_xid, id: last.cursor_id, at: last.happened_at },
  };
}

/** What the leader did about a webhook. */
export interface DeliveryChange {
  /** It is done with all events up to this one. */
  readonly cursor?: EventCursor & { readonly at: string };
  /** `error` null = delivered. */
  readonly attempt?: { readonly status: number | null; readonly error: string | null };
  /** No attempt before. */
  readonly retry_after_ms?: number;
  /** The receiver wants no more: it is turned off. */
  readonly gone?: boolean;
}

/**
 * Writes down what was done, in the name of the term; false = the webhook is not at that version any more and nothing was
 * written. Throws SB001 ('deposed') with a term that is over.
 */
export async function recordDelivery(
  db: Database,
  { replicaId, epoch }: Term,
  { name, version }: Pick<DueWebhook, 'name' | 'version'>,
  change: DeliveryChange,
): Promise<boolean> {
  const [row] = await db.query<{ written: boolean }>('sweep', {
    sql: 'select signalbox_v1.record_delivery($1, $2, $3, $4, $5) as written',
    parameters: [replicaId, epoch, name, version, JSON.stringify(change)],
  });
  return row?.written === true;
}
