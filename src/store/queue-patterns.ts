import type { Database, Lane } from './database.ts';
import { type Decision, rowsPerCall, type Term } from './decisions.ts';

/** A pattern as it is stored; `spreading`: its last change is still on its way to some of its queues. */
export interface QueuePatternRow {
  readonly pattern: string;
  readonly settings: Readonly<Record<string, unknown>>;
  readonly version: string;
  readonly spreading: boolean;
  readonly created_at: Date;
  readonly updated_at: Date;
  readonly updated_by: string | null;
}

/** One setting of a queue and where it comes from; `pattern` names the one it comes from. */
export interface QueueSettingRow {
  readonly setting: string;
  readonly source: 'local' | 'pattern' | 'default';
  readonly pattern: string | null;
}

/** A change of a pattern, or its deletion, that has not reached all its queues. */
export interface SpreadingPattern {
  readonly pattern: string;
  readonly version: number;
  readonly actor: string | null;
}

interface ChangeOptions {
  readonly ifVersion: number | undefined;
  readonly actor: string | undefined;
}

/** Makes a pattern or replaces its settings; its queues do not have them yet. */
export function setPattern(
  db: Database,
  pattern: string,
  settings: Readonly<Record<string, unknown>>,
  { ifVersion, actor }: ChangeOptions,
): Promise<readonly Decision[]> {
  return db.query<Decision>('contended', {
    sql: 'select * from signalbox_v1.set_pattern($1, $2, $3, $4)',
    parameters: [pattern, JSON.stringify(settings), ifVersion ?? null, actor ?? null],
  });
}

/** Deletes a pattern; its queues do not know yet. */
export function deletePattern(
  db: Database,
  pattern: string,
  { ifVersion, actor }: ChangeOptions,
): Promise<readonly Decision[]> {
  return db.query<Decision>('contended', {
    sql: 'select * from signalbox_v1.delete_pattern($1, $2, $3)',
    parameters: [pattern, ifVersion ?? null, actor ?? null],
  });
}

/**
 * Gives queues what they inherit: at most 100 behind `after` of those that begin with `prefix`, or these `queues`. Lines are
 * locked in name order; one that is held by others is skipped (code `line_busy`). Throws SB001 ('deposed') with a term that
 * is over.
 */
export async function inheritSettings(
  db: Database,
  which: { readonly prefix: string; readonly after: string } | { readonly queues: readonly string[] },
  { actor, term }: { readonly actor: string | null; readonly term: Term | undefined },
): Promise<readonly Decision[]> {
  const { prefix, after, queues } = { prefix: '', after: '', queues: null, ...which };
  return db.query<Decision>(laneOf(term), {
    sql: 'select * from signalbox_v1.inherit_settings($1, $2, $3, $4, $5, $6, $7)',
    parameters: [prefix, after, queues, actor, term?.replicaId ?? null, term?.epoch ?? null, rowsPerCall],
  });
}

/** All queues of the pattern have this version of it. Throws SB001 ('deposed') with a term that is over. */
export async function finishPattern(
  db: Database,
  { pattern, version }: SpreadingPattern,
  term: Term | undefined,
): Promise<void> {
  await db.query(laneOf(term), {
    sql: 'select signalbox_v1.finish_pattern($1, $2, $3, $4)',
    parameters: [pattern, version, term?.replicaId ?? null, term?.epoch ?? null],
  });
}

/** Changes that have not reached all their queues within `olderThanMs`: whoever made them is slow, or gone. */
export async function readSpreadingPatterns(db: Database, olderThanMs: number): Promise<readonly SpreadingPattern[]> {
  const rows = await db.query<{ pattern: string; version: string; updated_by: string | null }>('sweep', {
    sql: `select p.pattern, p.version, p.updated_by from signalbox.queue_patterns p
          where p.reached_version < p.version and p.updated_at <= signalbox.clock() - signalbox.ms($1)
          order by p.pattern limit 100`,
    parameters: [olderThanMs],
  });
  return rows.map(({ pattern, version, updated_by: actor }) => ({ pattern, version: Number(version), actor }));
}

export async function readPattern(db: Database, pattern: string): Promise<QueuePatternRow | undefined> {
  const [row] = await db.query<QueuePatternRow>('read', {
    sql: 'select * from signalbox_v1.queue_patterns p where p.pattern = $1',
    parameters: [pattern],
  });
  return row;
}

/** Patterns by name, behind `after`, that begin with `prefix`. */
export function readPatterns(
  db: Database,
  { prefix, after, limit }: { readonly prefix: string; readonly after: string; readonly limit: number },
): Promise<readonly QueuePatternRow[]> {
  return db.query<QueuePatternRow>('read', {
    sql: `select * from signalbox_v1.queue_patterns p
          where p.pattern > $2 and starts_with(p.pattern, $1) order by p.pattern limit $3`,
    parameters: [prefix, after, limit],
  });
}

/** Where each setting of a queue comes from; empty = there is none of that name. */
export function readQueueSettings(db: Database, queue: string): Promise<readonly QueueSettingRow[]> {
  return db.query<QueueSettingRow>('read', {
    sql: `select s.setting, s.source, s.pattern from signalbox_v1.queue_settings s where s.queue = $1
          order by s.setting collate "C"`,
    parameters: [queue],
  });
}

function laneOf(term: Term | undefined): Lane {
  return term === undefined ? 'contended' : 'sweep';
}
