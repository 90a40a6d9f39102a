import type { TestDatabase } from '../../support/database.ts';

export interface VirtualClock {
  /** ms since 1970. */
  readonly nowMs: number;
  /** Time passes, for every row of this database at once. */
  pass(ms: number): Promise<void>;
}

/**
 * The clock of every row of this database stands still, but for `pass`. It is a sequence, so that moving it invalidates no
 * plan and waits for no transaction.
 */
export async function stopClock(db: TestDatabase): Promise<VirtualClock> {
  const { rows } = await db.query<{ now_ms: string }>(
    'select floor(extract(epoch from clock_timestamp()) * 1000)::bigint as now_ms',
  );
  let nowMs = Number(rows[0]?.now_ms);
  await db.query(`create sequence public.virtual_clock as bigint start ${nowMs}`);
  await db.query(`create or replace function signalbox.clock() returns timestamptz
    language sql volatile parallel safe
    as $$ select to_timestamp(last_value / 1000.0) from public.virtual_clock $$`);
  return {
    get nowMs() {
      return nowMs;
    },
    pass: async (ms) => {
      nowMs += ms;
      await db.query('select setval($1, $2)', ['public.virtual_clock', nowMs]);
    },
  };
}
