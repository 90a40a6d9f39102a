import type { TestDatabase } from './database.ts';

/** Moves the clock of every row of this database to `ms` from the real time; 0 puts it right again. */
export async function moveClock(database: TestDatabase, ms: number): Promise<void> {
  await database.query(`create or replace function signalbox.clock() returns timestamptz
    language sql volatile parallel safe
    as $$ select clock_timestamp() + interval '${Math.trunc(ms)} milliseconds' $$`);
}

/** Stops the clock of every row of this database at `ms` after the instant at which its only lease was granted. */
export async function stopClockAfterGrant(database: TestDatabase, ms: number): Promise<void> {
  const { rows } = await database.query<{ at: string }>(
    `select (acquired_at + interval '${Math.trunc(ms)} milliseconds')::text as at from signalbox.leases where state = 'held'`,
  );
  if (rows.length !== 1) throw new Error(`one lease must be held, not ${rows.length}`);
  await database.query(`create or replace function signalbox.clock() returns timestamptz
    language sql volatile parallel safe as $$ select timestamptz '${rows[0]?.at}' $$`);
}

/** Stops the clock of every row of this database at `epochMs`, in ms since 1970. */
export async function stopClockAt(database: TestDatabase, epochMs: number): Promise<void> {
  await database.query(`create or replace function signalbox.clock() returns timestamptz
    language sql volatile parallel safe
    as $$ select timestamptz 'epoch' + interval '${Math.trunc(epochMs)} milliseconds' $$`);
}

/**
 * Stops the clock of every row of this database now; the function given sets it, in ms from here. What happens then does not
 * depend on how fast the machine is.
 */
export async function stopClock(database: TestDatabase): Promise<(ms: number) => Promise<void>> {
  const { rows } = await database.query<{ now: string }>('select clock_timestamp()::text as now');
  const set = async (ms: number) => {
    await database.query(`create or replace function signalbox.clock() returns timestamptz
      language sql volatile parallel safe
      as $$ select timestamptz '${rows[0]?.now}' + interval '${Math.trunc(ms)} milliseconds' $$`);
  };
  await set(0);
  return set;
}
