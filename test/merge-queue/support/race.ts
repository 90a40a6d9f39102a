import { type TestDatabase, freshDatabase } from '../../support/database.ts';
import { rowsOf } from '../../support/sql-verbs.ts';
import { until } from '../../support/until.ts';
import { type Gate, aGate } from './gate.ts';
import { Builds, type MergeReplica, type ReplicaOptions, openReplica } from './service.ts';

/** A build alone gets the lease at once. */
export const atOnce = { expected_count: 1, stabilisation_ms: 0 } as const;

export interface Race extends AsyncDisposable {
  readonly db: TestDatabase;
  /** Stops where the test says. */
  readonly slow: Builds;
  readonly gate: Gate;
  readonly quick: Builds;
  readonly quickReplica: MergeReplica;
}

export async function aRace(options: ReplicaOptions = { settings: atOnce }): Promise<Race> {
  const db = await freshDatabase();
  const gate = aGate();
  const replicas = [openReplica(db, { ...options, intercept: gate.intercept }), openReplica(db, options)] as const;
  return {
    db,
    gate,
    slow: new Builds([replicas[0]]),
    quick: new Builds([replicas[1]]),
    quickReplica: replicas[1],
    [Symbol.asyncDispose]: async () => {
      gate.open();
      for (const replica of replicas) await replica[Symbol.asyncDispose]();
      await db[Symbol.asyncDispose]();
    },
  };
}

export async function grantsOf(db: TestDatabase): Promise<string[]> {
  const rows = await rowsOf<{ grant: string }>(
    db,
    `select head_sha || ' ' || status as grant from signalbox.merge_requests
     where status not in ('pending', 'remembered') order by 1`,
  );
  return rows.map(({ grant }) => grant);
}

export async function untilBlocked(db: TestDatabase, count: number): Promise<void> {
  await until(
    async () =>
      (
        await rowsOf(
          db,
          `select from pg_stat_activity
           where datname = current_database() and wait_event_type = 'Lock' and query like '%save_merge_queue%'`,
        )
      ).length === count,
    { what: `${count} saves wait for a lock` },
  );
}
