import { SignalboxError } from '../protocol/errors.ts';
import type { FencingToken, QueueName } from '../protocol/ids.ts';
import type { QueueDetail, QueuePage, QueueSettingsChange, QueueSummary, TokenCheck } from '../protocol/queues.ts';
import type { Clock } from '../runtime/clock.ts';
import type { Database } from '../store/database.ts';
import { advance, changesIn, configureQueue, type Decision, deleteQueue, rowsPerCall } from '../store/decisions.ts';
import {
  checkToken,
  type LeaseRow,
  type LineRow,
  type QueueRow,
  readHolders,
  readLine,
  readQueue,
  readQueues,
  readRunLine,
  type RunLineRow,
} from '../store/queue-reads.ts';
import { type QueueSettingRow, readQueueSettings } from '../store/queue-patterns.ts';
import { refusal } from './answers.ts';
import { withProblems } from './database-problem.ts';
import type { News } from './news.ts';

export interface QueuesOptions {
  readonly db: Database;
  readonly clock: Clock;
  readonly news: News;
}

export interface ChangeOptions {
  readonly ifVersion: number | undefined;
  readonly actor: string | undefined;
}

const holdersShown = 100;
const lineShown = 10;

/** The verbs on queues: settings, inspection, deletion. */
export class Queues {
  readonly #options: QueuesOptions;

  constructor(options: QueuesOptions) {
    this.#options = options;
  }

  /**
   * Live at once: a raised limit grants in the same commit, and what is more than one call may change right after it (or,
   * if somebody else has the line just then, by the sweep within a second); a lowered one drains.
   */
  async configure(queue: QueueName, change: QueueSettingsChange, options: ChangeOptions): Promise<QueueDetail> {
    const { db } = this.#options;
    const both = change.inherit?.find((name) => name in change);
    if (both !== undefined)
      throw new SignalboxError('invalid_settings', { detail: `${both} is set and is to be inherited.` });
    const decisions = await this.#deciding(() => configureQueue(db, queue, change, options));
    this.#refuseUnless('configured', decisions);
    let moved = changesIn(decisions) - 1;
    while (moved >= rowsPerCall) moved = changesIn(await this.#deciding(() => advance(db, [queue])));
    return this.get(queue);
  }

  async get(queue: QueueName): Promise<QueueDetail> {
    const { db } = this.#options;
    return withProblems(async () => {
      const row = await readQueue(db, queue);
      if (row === undefined) throw new SignalboxError('queue_not_found', { detail: `There is no queue ${queue}.` });
      const [sources, holders, line, runLine] = await Promise.all([
        readQueueSettings(db, queue),
        readHolders(db, queue, holdersShown),
        readLine(db, queue, lineShown),
        readRunLine(db, queue, lineShown),
      ]);
      return {
        ...summary(row),
        sources: Object.fromEntries(sources.map((source) => [source.setting, sourceText(source)])),
        holders: holders.map(holderView),
        line: line.map(lineView),
        run_line: runLine.map(runLineView),
      };
    });
  }

  async list(options: { prefix: string; cursor: string; limit: number }): Promise<QueuePage> {
    const rows = await withProblems(() =>
      readQueues(this.#options.db, { prefix: options.prefix, after: options.cursor, limit: options.limit + 1 }),
    );
    const page = rows.slice(0, options.limit);
    return {
      queues: page.map(summary),
      next_cursor: rows.length > options.limit ? (page.at(-1)?.queue ?? null) : null,
    };
  }

  async delete(queue: QueueName, options: ChangeOptions & { force: boolean }): Promise<void> {
    let decisions: readonly Decision[];
    // A long line ends in pages: each is a short call, and the queue grants nothing from the first one on.
    do decisions = await this.#deciding(() => deleteQueue(this.#options.db, queue, options));
    while (decisions.some(({ item, code }) => item === 0 && code === 'deleting'));
    this.#refuseUnless('deleted', decisions);
  }

  async checkToken(queue: QueueName, token: FencingToken, slot: number): Promise<TokenCheck> {
    const checked = await withProblems(() => checkToken(this.#options.db, queue, slot, token));
    if (checked.kind === 'no_queue') {
      throw new SignalboxError('queue_not_found', { detail: `There is no queue ${queue}.` });
    }
    return { current: checked.current, slot, newest_token: checked.newest };
  }

  async #deciding(call: () => Promise<readonly Decision[]>): Promise<readonly Decision[]> {
    const sentAtMs = this.#options.clock.monotonicMs();
    const decisions = await withProblems(call);
    this.#options.news.spread(decisions, sentAtMs);
    return decisions;
  }

  #refuseUnless(code: string, decisions: readonly Decision[]): void {
    const answer = decisions.find(({ item }) => item === 0);
    if (answer === undefined) throw new Error('the database did not answer');
    if (answer.code !== code) throw refusal(answer);
  }
}

function summary(row: QueueRow): QueueSummary {
  return {
    queue: row.queue as QueueName,
    concurrency_limit: row.concurrency_limit,
    paused: row.paused,
    default_ttl_ms: row.default_ttl_ms,
    max_ttl_ms: row.max_ttl_ms,
    waiting_ttl_ms: row.waiting_ttl_ms,
    max_waiting: row.max_waiting,
    max_hold_ms: row.max_hold_ms === null ? null : Number(row.max_hold_ms),
    lock_delay_ms: row.lock_delay_ms,
    claim_memory_ms: row.claim_memory_ms,
    max_runs: row.max_runs,
    max_attempts: row.max_attempts,
    max_age_ms: row.max_age_ms === null ? null : Number(row.max_age_ms),
    retry_delay_ms: row.retry_delay_ms,
    retry_delay_max_ms: Number(row.retry_delay_max_ms),
    on_failure: row.on_failure,
    priority_head_start_ms: row.priority_head_start_ms === null ? null : Number(row.priority_head_start_ms),
    rotate_by: row.rotate_by,
    retry_place: row.retry_place,
    supersede_by: row.supersede_by,
    cancel_in_progress: row.cancel_in_progress,
    on_full: row.on_full,
    max_wait_ms: row.max_wait_ms === null ? null : Number(row.max_wait_ms),
    reserve_max_ms: row.reserve_max_ms,
    on_failover: row.on_failover,
    closed: row.closed,
    cleanup: row.cleanup,
    held: Number(row.held),
    waiting: row.waiting,
    runs: row.runs,
    delayed: row.delayed,
    blocked: row.blocked,
    dead_letters: row.dead_letters,
    dirty: row.dirty,
    cleaning: Number(row.cleaning),
    draining: Number(row.draining ?? 0),
    oldest_wait_ms: row.oldest_wait_ms === null ? null : Number(row.oldest_wait_ms),
    version: Number(row.version),
    auto_created: row.auto_created,
    created_at: row.created_at.toISOString(),
    updated_at: row.updated_at.toISOString(),
  };
}

function sourceText({ source, pattern }: QueueSettingRow): string {
  return source === 'pattern' ? `pattern: ${pattern ?? ''}` : source;
}

function holderView(row: LeaseRow): QueueDetail['holders'][number] {
  return {
    claim_id: row.claim_id,
    holder: row.holder,
    kind: row.kind,
    slot: row.slot,
    fencing_token: Number(row.fencing_token),
    ttl_remaining_ms: Number(row.ttl_remaining_ms),
    expired: row.expired_not_reaped,
    release_requested: row.release_requested,
    acquired_at: row.acquired_at.toISOString(),
    expires_at: row.expires_at.toISOString(),
  };
}

function lineView(row: LineRow): QueueDetail['line'][number] {
  return {
    claim_id: row.claim_id,
    holder: row.holder,
    position: Number(row.position),
    priority: row.priority,
    waiting_for: row.waiting_for,
    why: row.why,
    estimated_wait_ms: row.estimated_wait_ms === null ? null : Number(row.estimated_wait_ms),
    enqueued_at: row.enqueued_at.toISOString(),
  };
}

function runLineView(row: RunLineRow): QueueDetail['run_line'][number] {
  return { ...row, enqueued_at: row.enqueued_at.toISOString() };
}
