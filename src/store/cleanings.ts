import type { Database } from './database.ts';
import type { Decision } from './decisions.ts';

export interface CleanItem {
  readonly queue: string;
  readonly holder: string;
  readonly max: number;
  readonly ttl_ms: number | undefined;
  readonly request_id: string | undefined;
}

/** Gives dirty slots to a cleaner. The queue's line is waited for, at most 250 ms (SQLSTATE 55P03). */
export function clean(db: Database, item: CleanItem): Promise<readonly Decision[]> {
  return db.query<Decision>('contended', {
    sql: 'select * from signalbox_v1.clean($1, $2, $3, $4, $5)',
    parameters: [item.queue, item.holder, item.ttl_ms ?? null, item.max, item.request_id ?? null],
  });
}

/** In which of these queues there may be something to clean now. Locks nothing. */
export async function watchCleaners(db: Database, queues: readonly string[]): Promise<readonly string[]> {
  const rows = await db.query<Decision>('read', {
    sql: 'select * from signalbox_v1.watch_cleaners($1)',
    parameters: [queues],
  });
  return rows.map(({ queue }) => queue);
}
