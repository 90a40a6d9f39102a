import type { Database } from './database.ts';
import type { Decision } from './decisions.ts';

/** From which queues: one, or all whose names begin so. */
export type TakeSource = { readonly queue: string } | { readonly prefix: string };

export type TakeItem = TakeSource & {
  readonly holder: string;
  readonly max: number;
  readonly ttl_ms: number | undefined;
  readonly request_id: string | undefined;
  /** A further page of the same request. */
  readonly continues: boolean;
  /** What the payloads may come to. */
  readonly bytes: number;
};

/**
 * Gives runs to workers, one request after another. Lines that others hold are skipped (`served` says busy), unless `wait`,
 * which is for a named queue: then its line is waited for, at most 250 ms (SQLSTATE 55P03).
 */
export function take(
  db: Database,
  items: readonly TakeItem[],
  { wait }: { readonly wait: boolean },
): Promise<readonly Decision[]> {
  return db.query<Decision>(wait ? 'contended' : 'decide', {
    sql: 'select * from signalbox_v1.take($1, $2)',
    parameters: [JSON.stringify(items), wait],
  });
}

/** Which of these sources might give something now, by index. Reads hints, locks nothing. */
export async function watchTakers(db: Database, sources: readonly TakeSource[]): Promise<readonly number[]> {
  const rows = await db.query<Decision>('read', {
    sql: 'select * from signalbox_v1.watch_takers($1)',
    parameters: [JSON.stringify(sources)],
  });
  return rows.flatMap(({ item }) => (item === null ? [] : [item]));
}

/** Renews everything this holder has taken from queues whose names begin so. */
export function renewHeld(
  db: Database,
  holder: string,
  ttlMs: number | undefined,
  prefix: string,
): Promise<readonly Decision[]> {
  return db.query<Decision>('renew', {
    sql: 'select * from signalbox_v1.renew_held($1, $2, $3, true)',
    parameters: [holder, ttlMs ?? null, prefix],
  });
}
