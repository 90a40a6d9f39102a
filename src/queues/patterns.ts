import { SignalboxError } from '../protocol/errors.ts';
import {
  type AppliedFile,
  MadeByFile,
  type PatternSettings,
  type QueuePattern,
  type QueuePatternDetail,
  type QueuePatternPage,
  type QueuePatterns,
} from '../protocol/patterns.ts';
import type { Clock } from '../runtime/clock.ts';
import { readAppliedFile, recordApplied } from '../store/applied-files.ts';
import type { Database } from '../store/database.ts';
import type { Decision, Term } from '../store/decisions.ts';
import {
  deletePattern,
  type QueuePatternRow,
  readPattern,
  readPatterns,
  readSpreadingPatterns,
  setPattern,
  type SpreadingPattern,
} from '../store/queue-patterns.ts';
import { refusal } from './answers.ts';
import { withProblems } from './database-problem.ts';
import type { News } from './news.ts';
import { type SpreadOptions, SpreadProgress, spreadPattern } from './pattern-spread.ts';

export interface PatternsOptions {
  readonly db: Database;
  readonly clock: Clock;
  readonly news: Pick<News, 'spread'>;
  /** Told why a change that was made did not reach all queues; the leader goes on with it. */
  readonly onError: (error: unknown) => void;
  /** How long a call that changes a pattern works on its queues before it leaves the rest to the leader. */
  readonly spreadWithinMs?: number;
}

/** After so long the leader takes a change over: its caller would have given up too. */
export const abandonedAfterMs = 6000;

interface ChangeOptions {
  readonly ifVersion: number | undefined;
  readonly actor: string | undefined;
}

/** The verbs on patterns. A change is committed first, with its event; then it is carried to the queues. */
export class Patterns implements QueuePatterns {
  readonly #options: PatternsOptions;
  /** How far the changes are that this replica has begun to carry to their queues, by pattern and version. */
  readonly #progress = new Map<string, SpreadProgress>();

  constructor(options: PatternsOptions) {
    this.#options = options;
  }

  async get(pattern: QueuePattern): Promise<QueuePatternDetail> {
    const row = await withProblems(() => readPattern(this.#options.db, pattern));
    if (row === undefined) throw notFound(pattern);
    return detailOf(row);
  }

  async list({ prefix, cursor, limit }: { prefix: string; cursor: string; limit: number }): Promise<QueuePatternPage> {
    const rows = await withProblems(() => readPatterns(this.#options.db, { prefix, after: cursor, limit: limit + 1 }));
    const page = rows.slice(0, limit);
    return {
      patterns: page.map(detailOf),
      next_cursor: rows.length > limit ? (page.at(-1)?.pattern ?? null) : null,
    };
  }

  async set(pattern: QueuePattern, settings: PatternSettings, options: ChangeOptions): Promise<QueuePatternDetail> {
    const answer = await this.#decide(() => setPattern(this.#options.db, pattern, settings, options));
    if (answer.code !== 'configured' && answer.code !== 'unchanged') throw refusal(answer);
    const isNew = answer.code === 'configured';
    // Also where nothing is new: who made the change may have died before it was everywhere.
    if (isNew || (await this.get(pattern)).spreading) await this.#spread(pattern, answer, options.actor);
    return this.get(pattern);
  }

  async delete(pattern: QueuePattern, options: ChangeOptions): Promise<void> {
    const answer = await this.#decide(() => deletePattern(this.#options.db, pattern, options));
    if (answer.code === 'pattern_not_found') throw notFound(pattern);
    if (answer.code !== 'deleted') throw refusal(answer);
    await this.#spread(pattern, answer, options.actor);
  }

  /** For the leader: goes on with the changes that nobody finished. How many queues changed. */
  async finishAbandoned(term: Term, signal: AbortSignal): Promise<number> {
    const { db, clock, news } = this.#options;
    let changed = 0;
    for (const change of await readSpreadingPatterns(db, abandonedAfterMs)) {
      if (signal.aborted) break;
      changed += await this.#carry(change, { db, clock, news, signal, term });
    }
    return changed;
  }

  async appliedFile(label: string): Promise<AppliedFile> {
    const row = await withProblems(() => readAppliedFile(this.#options.db, label));
    if (row === undefined) return { label, made: { queues: {}, patterns: [], merge_queues: [] }, version: 0 };
    return { label, made: MadeByFile.parse(row.made), version: Number(row.version) };
  }

  async recordApplied(
    label: string,
    made: MadeByFile,
    options: { readonly ifVersion: number; readonly actor: string | undefined },
  ): Promise<AppliedFile> {
    const version = await withProblems(() => recordApplied(this.#options.db, label, made, options));
    if (version === undefined)
      throw new SignalboxError('version_mismatch', { detail: `Somebody else applied ${label} meanwhile.` });
    return { label, made, version };
  }

  async #decide(call: () => Promise<readonly Decision[]>): Promise<Decision> {
    const [answer] = await withProblems(call);
    if (answer === undefined) throw new Error('the database did not answer');
    return answer;
  }

  async #carry(change: SpreadingPattern, options: SpreadOptions): Promise<number> {
    const key = `${change.version} ${change.pattern}`;
    const progress = this.#progress.get(key) ?? new SpreadProgress();
    // Those of older versions are of no use: the newest change is carried to all queues.
    for (const known of this.#progress.keys()) if (known.endsWith(` ${change.pattern}`)) this.#progress.delete(known);
    this.#progress.set(key, progress);
    const changed = await spreadPattern(change, progress, options);
    if (progress.after === undefined && progress.busy.size === 0) this.#progress.delete(key);
    return changed;
  }

  /** The change is made, so nothing that happens from here on is a failure of the call. */
  async #spread(pattern: QueuePattern, { body }: Decision, actor: string | undefined): Promise<void> {
    const { db, clock, news, onError, spreadWithinMs = 4000 } = this.#options;
    const signal = AbortSignal.timeout(spreadWithinMs);
    try {
      const change = { pattern, version: Number(body?.['version']), actor: actor ?? null };
      await this.#carry(change, { db, clock, news, signal });
    } catch (error) {
      onError(error);
    }
  }
}

function notFound(pattern: QueuePattern): SignalboxError {
  return new SignalboxError('pattern_not_found', { detail: `There is no pattern ${pattern}.` });
}

function detailOf(row: QueuePatternRow): QueuePatternDetail {
  return {
    pattern: row.pattern as QueuePattern,
    settings: row.settings,
    version: Number(row.version),
    spreading: row.spreading,
    created_at: row.created_at.toISOString(),
    updated_at: row.updated_at.toISOString(),
    updated_by: row.updated_by,
  };
}
