import type { Database } from './database.ts';

export interface AppliedFileRow {
  readonly made: unknown;
  readonly version: string;
}

export async function readAppliedFile(db: Database, label: string): Promise<AppliedFileRow | undefined> {
  const [row] = await db.query<AppliedFileRow>('read', {
    sql: 'select f.made, f.version from signalbox.applied_files f where f.label = $1',
    parameters: [label],
  });
  return row;
}

/** The new version; undefined = it is not at `ifVersion` (0 = never applied) any more. */
export async function recordApplied(
  db: Database,
  label: string,
  made: unknown,
  { ifVersion, actor }: { readonly ifVersion: number; readonly actor: string | undefined },
): Promise<number | undefined> {
  const [row] = await db.query<{ version: string | null }>('contended', {
    sql: 'select signalbox_v1.record_applied($1, $2, $3, $4) as version',
    parameters: [label, JSON.stringify(made), ifVersion, actor ?? null],
  });
  return row?.version == null ? undefined : Number(row.version);
}
