import type { TestDatabase } from './database.ts';

/** Moves the clock of every row of this database to `ms` from the real time; 0 puts it right again. */
export async function moveClock(database: TestDatabase, ms: number): Promise<void> {
  await database.query(`create or replace function signalbox.clock() returns timestamptz
    language sql volatile parallel safe
    as $$ select clock_timestamp() + interval '${Math.trunc(ms)} milliseconds' $$`);
}
