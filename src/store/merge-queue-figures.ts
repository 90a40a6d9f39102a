import type { Database } from './database.ts';

/** How a merge queue stands, in numbers. */
export interface MergeQueueFigures {
  readonly queue: string;
  /** owner:repo:base_ref. */
  readonly providerId: string;
  readonly pending: number;
  /** Those that wait and the holder, without what is left of one that ended. */
  readonly known: number;
  /** null = nobody waits. */
  readonly oldestWaitMs: number | null;
  /** null = nobody holds. */
  readonly holderAgeMs: number | null;
}

interface FiguresRow {
  readonly queue: string;
  readonly provider_id: string;
  readonly pending: number;
  readonly known: number;
  readonly oldest_wait_ms: number | null;
  readonly holder_age_ms: number | null;
}

/** Those used last, at most `limit`; locks nothing. */
export async function readMergeQueueFigures(
  db: Database,
  { limit, timeoutMs }: { readonly limit: number; readonly timeoutMs: number },
): Promise<readonly MergeQueueFigures[]> {
  const rows = await db.query<FiguresRow>(
    'read',
    {
      sql: `with present as materialized (select signalbox.clock() as at)
            select q.queue, q.owner || ':' || q.repo || ':' || q.base_ref as provider_id,
              count(*) filter (where r.status = 'pending')::integer as pending,
              count(*) filter (where r.status in ('pending', 'acquired'))::integer as known,
              (extract(epoch from present.at - min(r.registered_at) filter (where r.status = 'pending')) * 1000)::float8
                as oldest_wait_ms,
              (extract(epoch from present.at - min(r.acquired_at) filter (where r.status = 'acquired')) * 1000)::float8
                as holder_age_ms
            from present
            cross join (select * from signalbox.merge_queues order by used_at desc, queue limit $1) q
            left join signalbox.merge_requests r on r.queue = q.queue
            group by q.queue, q.owner, q.repo, q.base_ref, present.at`,
      parameters: [limit],
    },
    { timeoutMs },
  );
  return rows.map((row) => ({
    queue: row.queue,
    providerId: row.provider_id,
    pending: row.pending,
    known: row.known,
    oldestWaitMs: row.oldest_wait_ms === null ? null : Math.max(0, row.oldest_wait_ms),
    holderAgeMs: row.holder_age_ms === null ? null : Math.max(0, row.holder_age_ms),
  }));
}
