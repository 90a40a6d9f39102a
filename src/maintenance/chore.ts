import type { Clock } from '../runtime/clock.ts';
import type { Service } from '../runtime/service.ts';
import { Ticker } from '../runtime/ticker.ts';
import { recordChore } from '../store/chores.ts';
import type { Database } from '../store/database.ts';
import type { Term } from '../store/decisions.ts';
import { failureKind } from '../store/failures.ts';

/** What a round did, by kind. All 0 or empty = nothing happened. */
export type ChoreCounts = Readonly<Record<string, number>>;

/** One thing that only the leader does, again and again. */
export interface Chore {
  readonly name: string;
  readonly periodMs: number;
  /** After this long the round's signal aborts. A round that then returns counts has more to do and goes on at once. */
  readonly timeoutMs: number;
  /** One round. Every write carries the term; it ends soon after `signal` aborts, by returning or by throwing. */
  runOnce(options: { readonly term: Term; readonly signal: AbortSignal }): Promise<ChoreCounts>;
}

/** What chores tell to logs and metrics. */
export type MaintenanceEvent =
  | { readonly kind: 'chore.done'; readonly chore: string; readonly durationMs: number; readonly counts: ChoreCounts }
  | { readonly kind: 'chore.failed'; readonly chore: string; readonly durationMs: number; readonly error: unknown }
  /** The round itself was fine; only what people read about it is old. */
  | { readonly kind: 'chore.record_failed'; readonly chore: string; readonly error: unknown }
  /** Fewer days of history are made ahead than are safe: without a partition nothing can be released. */
  | { readonly kind: 'history.running_short'; readonly daysAhead: number };

export interface ChoreRunnerOptions {
  readonly db: Database;
  readonly clock: Clock;
  readonly chore: Chore;
  readonly term: Term;
  /** Aborts when the term ends: the round is broken off at once, also while other services of the term still stop. */
  readonly termSignal?: AbortSignal;
  /** A write was refused because somebody else leads. Ends the term, and with it this service. */
  readonly reportDeposed: (error: unknown) => void;
  readonly onEvent: (event: MaintenanceEvent) => void;
  /** Before the first round; default: somewhere in the first period, and within a second. */
  readonly firstDelayMs?: number;
}

export class ChoreTimeoutError extends Error {
  constructor(chore: string, timeoutMs: number, cause: unknown) {
    super(`a round of chore ${chore} did not end within ${timeoutMs} ms`, { cause });
    this.name = 'ChoreTimeoutError';
  }
}

/** A quiet chore is recorded this often at most; one that did something, or failed, always. */
const recordQuietEveryMs = 1000;

/**
 * Runs one chore for one term. Each chore has a runner of its own, so the failure or slowness of one never holds up
 * another; a failed round is reported, recorded, and tried again with backoff.
 */
export class ChoreRunner implements Service {
  readonly name: string;
  readonly #options: ChoreRunnerOptions;
  readonly #ticker: Ticker;
  #recordedAtMs = -Infinity;

  /** Throws a RangeError for a period or timeout that is not above 0. */
  constructor(options: ChoreRunnerOptions) {
    const { chore, firstDelayMs } = options;
    for (const key of ['periodMs', 'timeoutMs'] as const)
      if (!(chore[key] > 0)) throw new RangeError(`${key} of chore ${chore.name} must be above 0, not ${chore[key]}`);
    this.#options = options;
    this.name = `chore ${chore.name}`;
    this.#ticker = new Ticker({
      name: this.name,
      periodMs: chore.periodMs,
      ...(firstDelayMs === undefined ? {} : { firstDelayMs }),
      runOnce: ({ signal }) => this.runOnce({ signal }),
      // The round has reported itself.
      onError: () => undefined,
    });
  }

  async start(): Promise<void> {
    const { termSignal } = this.#options;
    if (termSignal?.aborted === true) return;
    await this.#ticker.start();
    termSignal?.addEventListener('abort', () => void this.#ticker.stop(), { once: true });
  }

  stop(): Promise<void> {
    return this.#ticker.stop();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  /** One round with its timeout, its report and its record. Throws what the chore threw. `'again'` = there is more. */
  async runOnce({ signal }: { readonly signal: AbortSignal }): Promise<'again' | undefined> {
    const { chore, clock, term, onEvent } = this.#options;
    const startedAtMs = clock.monotonicMs();
    const durationMs = () => clock.monotonicMs() - startedAtMs;
    const timeout = new AbortController();
    const timer = setTimeout(() => timeout.abort(), chore.timeoutMs);
    try {
      const counts = await chore.runOnce({ term, signal: AbortSignal.any([signal, timeout.signal]) });
      onEvent({ kind: 'chore.done', chore: chore.name, durationMs: durationMs(), counts });
      await this.#record(durationMs(), counts, null);
      return timeout.signal.aborted ? 'again' : undefined;
    } catch (thrown) {
      if (failureKind(thrown) === 'deposed') {
        this.#options.reportDeposed(thrown);
        throw thrown;
      }
      // Ended in the middle by stop(): not a failure.
      if (signal.aborted) throw thrown;
      const error = timeout.signal.aborted ? new ChoreTimeoutError(chore.name, chore.timeoutMs, thrown) : thrown;
      onEvent({ kind: 'chore.failed', chore: chore.name, durationMs: durationMs(), error });
      await this.#record(durationMs(), {}, error instanceof Error ? error.message : String(error));
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }

  async #record(durationMs: number, counts: ChoreCounts, error: string | null): Promise<void> {
    const { db, term, chore, clock, reportDeposed, onEvent } = this.#options;
    const isQuiet = error === null && Object.values(counts).every((count) => count === 0);
    if (isQuiet && clock.monotonicMs() - this.#recordedAtMs < recordQuietEveryMs) return;
    this.#recordedAtMs = clock.monotonicMs();
    try {
      await recordChore(db, term, { chore: chore.name, durationMs, counts, error });
    } catch (failure) {
      if (failureKind(failure) === 'deposed') reportDeposed(failure);
      else onEvent({ kind: 'chore.record_failed', chore: chore.name, error: failure });
    }
  }
}
