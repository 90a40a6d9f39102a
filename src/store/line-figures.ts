import type { Database } from './database.ts';

/** How many wait for one reason, in all lines together. */
export interface LineFigures {
  /** As `signalbox.waiting_for` names it. */
  readonly waitingFor: string;
  readonly kind: 'claim' | 'run';
  readonly waiting: number;
  /** How long the head of a line has waited, where that is longest. */
  readonly oldestHeadMs: number;
}

/**
 * What those in line wait for, of the first `limit` queues that have a line: one probe for each, however long it is. The head
 * of a line counts with its own reason, all behind it with that of the last. Locks nothing.
 */
export async function readLineFigures(
  db: Database,
  { limit, timeoutMs }: { readonly limit: number; readonly timeoutMs: number },
): Promise<readonly LineFigures[]> {
  const rows = await db.query<{ waiting_for: string; kind: 'claim' | 'run'; waiting: string; oldest_head_ms: string }>(
    'read',
    {
      sql: `with recursive named as (
              (select w.queue, 1 as nth from signalbox.waiting w where w.kind <> '' order by w.queue limit 1)
              union all
              select (
                select w.queue from signalbox.waiting w where w.queue > n.queue and w.kind <> '' order by w.queue limit 1), n.nth + 1
              from named n where n.queue is not null and n.nth < $1)
            select r.waiting_for, k.kind, sum(r.waiting) as waiting,
              max(signalbox.ms_until(signalbox.clock(), h.enqueued_at)) as oldest_head_ms
            from named d
            join signalbox.lines n on n.queue = d.queue
            cross join lateral signalbox.blocked_by(n) b
            cross join lateral (
              select signalbox.quarantine_end(n.queue, signalbox.known_failover_at()) is not null as is_quarantined) f
            cross join lateral (values ('claim', n.waiting::bigint), ('run', n.runs::bigint)) k(kind, waiting)
            cross join lateral (
              select w.claim_id, w.joint, w.enqueued_at, w.place, w.seq, w.rank from signalbox.waiting w
              where w.queue = n.queue and w.kind = k.kind and w.kind <> '' order by w.place, w.seq, w.rank limit 1) h
            cross join lateral (
              select k.kind = 'run' and signalbox.stands_behind_blocker(n, h.place, h.seq, h.rank) as is_blocked) s
            cross join lateral (values
              (coalesce(case when h.joint is not null then signalbox.other_queue(n.queue, h.claim_id) ->> 'waiting_for' end,
                signalbox.waiting_for(n, 1, b.held, b.delayed, k.kind, s.is_blocked, b.cleaning, f.is_quarantined)), 1),
              (signalbox.waiting_for(n, k.waiting, b.held, b.delayed, k.kind, s.is_blocked, b.cleaning, f.is_quarantined),
                k.waiting - 1)
            ) r(waiting_for, waiting)
            where r.waiting > 0
            group by r.waiting_for, k.kind`,
      parameters: [limit],
    },
    { timeoutMs },
  );
  return rows.map((row) => ({
    waitingFor: row.waiting_for,
    kind: row.kind,
    waiting: Number(row.waiting),
    oldestHeadMs: Number(row.oldest_head_ms),
  }));
}

/** How many slots of all queues with clean-up wait for a cleaner. Locks nothing. */
export async function readDirtySlots(db: Database, { timeoutMs }: { readonly timeoutMs: number }): Promise<number> {
  const [row] = await db.query<{ dirty: string }>(
    'read',
    { sql: 'select coalesce(sum(n.dirty), 0) as dirty from signalbox.lines n where n.cleanup', parameters: [] },
    { timeoutMs },
  );
  return Number(row?.dirty);
}
