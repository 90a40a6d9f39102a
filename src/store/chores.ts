import type { Database } from './database.ts';
import type { Term } from './decisions.ts';

export interface ChoreRecord {
  readonly chore: string;
  readonly durationMs: number;
  readonly counts: Readonly<Record<string, number>>;
  /** null = the round succeeded. */
  readonly error: string | null;
}

/** Writes what the last round of a chore did. Throws SB001 ('deposed') if the term is over. */
export async function recordChore(db: Database, term: Term, record: ChoreRecord): Promise<void> {
  await db.query('sweep', {
    sql: 'select signalbox_v1.record_chore($1, $2, $3, $4, $5, $6)',
    parameters: [
      term.replicaId,
      term.epoch,
      record.chore,
      Math.round(record.durationMs),
      JSON.stringify(record.counts),
      record.error,
    ],
  });
}

/** Removes old rows of terms and replicas, at most 100 of each; how many. Throws SB001 ('deposed') if the term is over. */
export async function sweepRegisters(db: Database, term: Term): Promise<number> {
  const [row] = await db.query<{ removed: number }>('sweep', {
    sql: 'select signalbox_v1.sweep_registers($1, $2) as removed',
    parameters: [term.replicaId, term.epoch],
  });
  return row?.removed ?? 0;
}
