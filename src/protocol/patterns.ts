import { z } from 'zod';
import { plainText } from './ids.ts';
import { QueueSettings } from './queues.ts';

/**
 * Defaults by name pattern: a queue whose name begins so has these settings unless it has its own. Of several patterns that
 * fit the longest wins; it alone counts, and what it does not set is as without patterns.
 */

const patternForm = /^[A-Za-z0-9._:/@-]{0,199}\*$/;

/** The beginning of queue names, and one `*` behind it: `repo/*`, or `*` for all queues. */
export const QueuePattern = z
  .string()
  .regex(patternForm, 'must be up to 199 characters of A-Z a-z 0-9 . _ : / @ - and one * behind them')
  .brand<'QueuePattern'>()
  .meta({ description: 'The beginning of queue names and a `*`.' });
export type QueuePattern = z.infer<typeof QueuePattern>;

/** The whole document: what is left out the pattern does not set. */
export const PatternSettings = QueueSettings.partial();
export type PatternSettings = z.infer<typeof PatternSettings>;

const Instant = z.string().meta({ format: 'date-time' });

export const QueuePatternDetail = z.object({
  pattern: QueuePattern,
  settings: PatternSettings,
  version: z.int(),
  spreading: z
    .boolean()
    .meta({ description: 'The last change is still on its way to some of its queues. New queues have it already.' }),
  created_at: Instant,
  updated_at: Instant,
  updated_by: z.string().nullable(),
});
export type QueuePatternDetail = z.infer<typeof QueuePatternDetail>;

export const QueuePatternPage = z.object({
  patterns: z.array(QueuePatternDetail),
  next_cursor: z.string().nullable(),
});
export type QueuePatternPage = z.infer<typeof QueuePatternPage>;

/** What an apply of a file made, by kind; of a queue the names of the settings too. */
export const MadeByFile = z.strictObject({
  queues: z.record(z.string().max(200), z.array(z.string().max(100)).max(100)),
  patterns: z.array(z.string().max(200)).max(1000),
  merge_queues: z.array(z.string().max(200)).max(10_000),
});
export type MadeByFile = z.infer<typeof MadeByFile>;

export const FileLabel = plainText(200).meta({ description: 'What the file is called, e.g. its name.' });

export const AppliedFile = z.object({ label: FileLabel, made: MadeByFile, version: z.int() });
export type AppliedFile = z.infer<typeof AppliedFile>;

interface ChangeOptions {
  readonly ifVersion: number | undefined;
  readonly actor: string | undefined;
}

/** The verbs of patterns, and of what files made. Whatever may come of the database is thrown as SignalboxError. */
export interface QueuePatterns {
  /** Throws 404 `pattern_not_found`. */
  get(pattern: QueuePattern): Promise<QueuePatternDetail>;
  list(options: { prefix: string; cursor: string; limit: number }): Promise<QueuePatternPage>;
  /** Throws 400 `invalid_settings`, 412 `version_mismatch`. */
  set(pattern: QueuePattern, settings: PatternSettings, options: ChangeOptions): Promise<QueuePatternDetail>;
  /** Throws 404 `pattern_not_found`, 412 `version_mismatch`. */
  delete(pattern: QueuePattern, options: ChangeOptions): Promise<void>;
  /** Of a file never applied: nothing, at version 0. */
  appliedFile(label: string): Promise<AppliedFile>;
  /** Throws 412 `version_mismatch` if somebody else applied it since `ifVersion`. */
  recordApplied(
    label: string,
    made: MadeByFile,
    options: { readonly ifVersion: number; readonly actor: string | undefined },
  ): Promise<AppliedFile>;
}
