import { backoffMs } from '../runtime/backoff.ts';
import type { Clock } from '../runtime/clock.ts';
import { Pause } from '../runtime/pause.ts';
import type { Service } from '../runtime/service.ts';
import type { Database } from '../store/database.ts';
import { advance, changesIn, type Decision, rowsPerCall } from '../store/decisions.ts';
import { failureKind } from '../store/failures.ts';
import type { News } from './news.ts';

export interface StirrerOptions {
  readonly db: Database;
  readonly clock: Clock;
  /** Told what came of it; it is what asks, too. */
  readonly news: () => Pick<News, 'spread'>;
  readonly onError: (error: unknown) => void;
}

const attemptsMax = 4;
/** Lines that are stuck are left to the watch and the leader for so long: each try keeps others waiting for up to 100 ms. */
const restMs = 1000;
const inFlightMax = 2;

/**
 * Lets lines advance together that a decision could not have together: it holds its own line and never waits for another
 * one, so a hand-over of several queues may meet one that is busy. This waits for them in name order, at once. What it misses
 * costs latency only.
 */
export class Stirrer implements Service {
  readonly name = 'stirrer';
  readonly #options: StirrerOptions;
  readonly #asked = new Map<string, readonly string[]>();
  readonly #restsUntilMs = new Map<string, number>();
  readonly #running = new Set<Promise<void>>();
  #ending = new AbortController();

  constructor(options: StirrerOptions) {
    this.#options = options;
  }

  stir(queues: readonly string[]): void {
    const key = keyOf(queues);
    const restsUntilMs = this.#restsUntilMs.get(key);
    if (this.#ending.signal.aborted || queues.length === 0) return;
    if (restsUntilMs !== undefined && restsUntilMs > this.#options.clock.monotonicMs()) return;
    this.#restsUntilMs.delete(key);
    this.#asked.set(key, queues);
    if (this.#running.size >= inFlightMax) return;
    const running = this.#run(this.#ending.signal).finally(() => this.#running.delete(running));
    this.#running.add(running);
  }

  start(): Promise<void> {
    if (this.#ending.signal.aborted) this.#ending = new AbortController();
    return Promise.resolve();
  }

  async stop(): Promise<void> {
    this.#ending.abort();
    this.#asked.clear();
    await Promise.all(this.#running);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  async #run(signal: AbortSignal): Promise<void> {
    for (let [next] = this.#asked; next !== undefined && !signal.aborted; [next] = this.#asked) {
      this.#asked.delete(next[0]);
      await this.#advance(...next, signal);
    }
  }

  async #advance(key: string, queues: readonly string[], signal: AbortSignal): Promise<void> {
    const { db, clock, news, onError } = this.#options;
    for (let failures = 0; failures < attemptsMax; failures++) {
      try {
        let moved = rowsPerCall;
        let isStuck = false;
        while (moved >= rowsPerCall) {
          const sentAtMs = clock.monotonicMs();
          const decisions = await advance(db, queues, { wait: true });
          // With all its lines at hand it asks for them again: somebody has a row of theirs.
          const own = decisions.filter((decision) => stirredBy(decision) === key);
          isStuck = own.length > 0;
          news().spread(
            decisions.filter((decision) => !own.includes(decision)),
            sentAtMs,
          );
          moved = changesIn(decisions);
        }
        if (!isStuck) return;
      } catch (error) {
        if (failureKind(error) !== 'contended') {
          onError(error);
          return;
        }
      }
      await new Pause().wait(backoffMs(failures + 1, { firstMs: 5, maxMs: 40 }), signal);
    }
    this.#rest(key);
  }

  #rest(key: string): void {
    const nowMs = this.#options.clock.monotonicMs();
    this.#restsUntilMs.set(key, nowMs + restMs);
    // Few are stuck at a time; what is over is forgotten here.
    for (const [other, untilMs] of this.#restsUntilMs) if (untilMs <= nowMs) this.#restsUntilMs.delete(other);
  }
}

function stirredBy({ code, body }: Decision): string | undefined {
  return code === 'stir' ? keyOf(body?.['queues'] as readonly string[]) : undefined;
}

function keyOf(queues: readonly string[]): string {
  return queues.toSorted().join('\n');
}
