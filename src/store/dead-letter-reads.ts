import type { Database } from './database.ts';

/** Queues a reader may see: one, or those whose names begin so ('' = all). */
export type QueueRange = { readonly queue: string } | { readonly prefix: string };

/** The place of a dead letter in their order. Times are the database's text, to the microsecond. */
export interface LetterPlace {
  readonly queue: string;
  readonly died_at: string;
  readonly claim_id: string;
}

export interface AttemptRow {
  readonly attempt: number | null;
  readonly holder: string;
  readonly fencing_token: number | null;
  readonly slot: number | null;
  readonly state: string;
  readonly reason: string;
  readonly outcome: string | null;
  readonly error: string | null;
  readonly acquired_at: string | null;
  readonly ended_at: string;
}

export interface LetterRow extends LetterPlace {
  readonly reason: string;
  readonly outcome: string | null;
  readonly error: string | null;
  readonly holder: string;
  readonly attempts: number;
  readonly max_attempts: number;
  readonly priority: number;
  readonly labels: Readonly<Record<string, string>>;
  /** JSON text as it was stored; null: none. */
  readonly payload: string | null;
  readonly enqueued_at: string;
  readonly blocks: boolean;
  readonly history: readonly AttemptRow[];
}

const beforeAll: LetterPlace = { queue: '', died_at: '-infinity', claim_id: '' };

/**
 * Dead letters behind a place, by queue and time of death, with their newest 20 grants: at most `limit`, and as many as
 * have `bytesMax` of payload in all, but one at least. `more`: there are others.
 */
export async function readDeadLetters(
  db: Database,
  range: QueueRange,
  page: { readonly after: LetterPlace | undefined; readonly limit: number; readonly bytesMax: number },
): Promise<{ readonly rows: readonly LetterRow[]; readonly more: boolean }> {
  const after = page.after ?? beforeAll;
  const rows = await db.query<LetterRow & { found: string }>('read', {
    sql: `with found as materialized (
            select x.*, x.payload::text as payload_text from signalbox.dead_letters x
            where x.reason <> '' and x.queue between $1 and $2 and (x.queue, x.died_at, x.claim_id) > ($3, $4::timestamptz, $5)
            order by x.queue, x.died_at, x.claim_id limit $6::integer + 1),
          page as (
            select f.*, row_number() over w as nth, sum(octet_length(f.payload_text)) over w as bytes
            from found f window w as (order by f.queue, f.died_at, f.claim_id))
          select p.queue, p.claim_id, p.reason, p.outcome, p.error, p.holder, p.attempts, p.max_attempts, p.priority,
            p.labels, p.payload_text as payload, p.blocks, signalbox.rfc3339(p.enqueued_at) as enqueued_at,
            signalbox.rfc3339(p.died_at) as died_at, coalesce(h.history, '[]') as history,
            (select count(*) from found) as found
          from page p
          left join lateral (
            select json_agg(json_build_object('attempt', h.attempt, 'holder', h.holder,
                'fencing_token', h.fencing_token, 'slot', h.slot, 'state', h.state, 'reason', h.reason,
                'outcome', h.outcome, 'error', h.error, 'acquired_at', signalbox.rfc3339(h.acquired_at),
                'ended_at', signalbox.rfc3339(h.ended_at)) order by h.ended_at) as history
            from (
              select * from signalbox.history h
              where h.queue = p.queue and h.claim_id = p.claim_id and h.enqueued_at = p.enqueued_at
                and h.slot is not null
              order by h.ended_at desc limit 20) h) h on true
          where p.nth <= $6 and (p.nth = 1 or coalesce(p.bytes, 0) <= $7)
          order by p.queue, p.died_at, p.claim_id`,
    parameters: [...bounds(range), after.queue, after.died_at, after.claim_id, page.limit, page.bytesMax],
  });
  return { rows: rows.map(withoutFound), more: Number(rows[0]?.found ?? 0) > rows.length };
}

export interface BlockerRow {
  readonly queue: string;
  readonly on_failure: 'wait' | 'step_around' | 'stop';
  readonly since: string;
  readonly waiting: number;
  readonly delayed: number;
  readonly claim_id: string;
  readonly state: 'delayed' | 'dead';
  readonly reason: string;
  readonly attempts: number;
  readonly error: string | null;
  readonly due_at: string | null;
}

/** The first ten blockers of each of the first `limit` blocked queues behind `after`, by queue and place. */
export async function readBlockers(
  db: Database,
  page: { readonly prefix: string; readonly after: string; readonly limit: number },
): Promise<{ readonly rows: readonly BlockerRow[]; readonly more: boolean }> {
  // One probe a blocked queue, however many others there are and however much blocks it.
  const rows = await db.query<BlockerRow & { found: string }>('read', {
    sql: `with recursive found as (
            select least(
                (select d.queue from signalbox.delayed d
                 where d.blocks and d.queue > $3 and d.queue between $1 and $2 order by d.queue limit 1),
                (select x.queue from signalbox.dead_letters x
                 where x.blocks and x.queue > $3 and x.queue between $1 and $2 order by x.queue limit 1)) as queue,
              1 as nth
            union all
            select least(
                (select d.queue from signalbox.delayed d
                 where d.blocks and d.queue > f.queue and d.queue <= $2 order by d.queue limit 1),
                (select x.queue from signalbox.dead_letters x
                 where x.blocks and x.queue > f.queue and x.queue <= $2 order by x.queue limit 1)),
              f.nth + 1
            from found f where f.queue is not null and f.nth <= $4::integer)
          select b.queue, b.on_failure, signalbox.rfc3339(b.since) as since, b.waiting, b.delayed, b.claim_id, b.state,
            b.reason, b.attempts, b.error, signalbox.rfc3339(b.due_at) as due_at,
            (select count(f.queue) from found f) as found
          from signalbox_v1.blocked_queues b
          where b.queue = any(array(select f.queue from found f where f.nth <= $4))
          order by b.queue, b.place`,
    parameters: [...bounds({ prefix: page.prefix }), page.after, page.limit],
  });
  return { rows: rows.map(withoutFound), more: Number(rows[0]?.found ?? 0) > page.limit };
}

/** The first and the last name there can be in a range: names are of COLLATE "C", and none has a '~'. */
function bounds(range: QueueRange): readonly [string, string] {
  return 'queue' in range ? [range.queue, range.queue] : [range.prefix, `${range.prefix}~`];
}

/** How many there were is said beside the rows. */
function withoutFound<Row extends { readonly found: string }>(row: Row): Omit<Row, 'found'> {
  const rest: Omit<Row, 'found'> & { found?: string } = { ...row };
  delete rest.found;
  return rest;
}
