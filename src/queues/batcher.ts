import { SignalboxError } from '../protocol/errors.ts';
import type { Clock } from '../runtime/clock.ts';

export interface BatcherOptions<Item, Result> {
  readonly clock: Clock;
  /** Sends one batch. It returns one result, or the promise of one, per item, in order; a throw fails every item. */
  readonly run: (items: readonly Item[], sentAtMs: number) => Promise<readonly (Result | Promise<Result>)[]>;
  readonly batchMax: number;
  readonly inFlightMax: number;
  /** Beyond this many items that wait to be sent, `submit` throws `overloaded`. */
  readonly pendingMax: number;
  /** An item that could not be sent for so long is answered `overloaded`, not done. Default 5,000 ms. */
  readonly waitMaxMs?: number;
  readonly onBatch?: (size: number) => void;
}

/** How long a batch may hold up those behind it that are fewer. */
const patienceMs = 5;

interface Entry<Item, Result> {
  readonly item: Item;
  readonly sinceMs: number;
  readonly resolve: (result: Result | Promise<Result>) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * Gathers what arrives in one turn of the event loop, and while earlier batches are in flight, into one call. An idle
 * batcher sends at the end of the turn; it never waits for more. Beside a batch in flight another one goes out when it is
 * no smaller, or after 5 ms: a call costs the database as much as a dozen of its items, so two halves of a batch cost more
 * than the whole (measured: a fifth more pairs at 4 and 16 clients), and no slow batch holds up the rest.
 */
export class Batcher<Item, Result> {
  readonly #options: BatcherOptions<Item, Result>;
  #pending: Entry<Item, Result>[] = [];
  #inFlight = 0;
  #lastSize = 0;
  #scheduled = false;
  #patience: NodeJS.Timeout | undefined;
  #deadline: NodeJS.Timeout | undefined;

  constructor(options: BatcherOptions<Item, Result>) {
    this.#options = options;
  }

  /** Items that wait to be sent. */
  get pending(): number {
    return this.#pending.length;
  }

  /** Resolves after the commit of the batch that carried the item. Throws `overloaded` without having done anything. */
  submit(item: Item): Promise<Result> {
    if (this.#pending.length >= this.#options.pendingMax) {
      throw new SignalboxError('overloaded', { retryAfterMs: 1000 });
    }
    return new Promise((resolve, reject) => {
      this.#pending.push({ item, sinceMs: this.#options.clock.monotonicMs(), resolve, reject });
      this.#schedule();
      this.#watchDeadline();
    });
  }

  #schedule(): void {
    if (this.#scheduled || this.#pending.length === 0 || this.#inFlight >= this.#options.inFlightMax) return;
    if (!this.#maySend()) {
      this.#patience ??= setTimeout(() => {
        this.#patience = undefined;
        this.#lastSize = 0;
        this.#schedule();
      }, patienceMs);
      return;
    }
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      clearTimeout(this.#patience);
      this.#patience = undefined;
      while (this.#maySend()) {
        const entries = this.#takeNext();
        if (entries.length > 0) void this.#send(entries);
      }
      this.#schedule();
    });
  }

  #maySend(): boolean {
    if (this.#pending.length === 0 || this.#inFlight >= this.#options.inFlightMax) return false;
    return this.#inFlight === 0 || this.#pending.length >= Math.min(this.#lastSize, this.#options.batchMax);
  }

  /** Answers in time also while nothing is sent, because the calls in flight hang. One timer for all who wait. */
  #watchDeadline(): void {
    const oldest = this.#pending[0];
    if (oldest === undefined || this.#deadline !== undefined) return;
    const { clock } = this.#options;
    const leftMs = oldest.sinceMs + this.#waitMaxMs - clock.monotonicMs();
    // The timer waits for whoever comes next, too, and stops no process from ending.
    this.#deadline = setTimeout(
      () => {
        this.#deadline = undefined;
        this.#refuseOverdue();
        this.#watchDeadline();
      },
      Math.max(1, Math.ceil(leftMs)),
    ).unref();
  }

  /** Nobody may be listening any more to what has waited too long; nothing was done. */
  #refuseOverdue(): void {
    const oldestMs = this.#options.clock.monotonicMs() - this.#waitMaxMs;
    while (this.#pending[0] !== undefined && this.#pending[0].sinceMs <= oldestMs) {
      this.#pending.shift()?.reject(new SignalboxError('overloaded', { retryAfterMs: 1000 }));
    }
  }

  get #waitMaxMs(): number {
    return this.#options.waitMaxMs ?? 5000;
  }

  #takeNext(): Entry<Item, Result>[] {
    this.#refuseOverdue();
    return this.#pending.splice(0, this.#options.batchMax);
  }

  async #send(entries: readonly Entry<Item, Result>[]): Promise<void> {
    this.#inFlight++;
    this.#lastSize = entries.length;
    this.#options.onBatch?.(entries.length);
    try {
      const results = await this.#options.run(
        entries.map(({ item }) => item),
        this.#options.clock.monotonicMs(),
      );
      entries.forEach(({ resolve, reject }, index) => {
        const result = results[index];
        if (result === undefined) reject(new Error('the database did not answer this item'));
        else resolve(result);
      });
    } catch (error) {
      for (const { reject } of entries) reject(error);
    } finally {
      this.#inFlight--;
      this.#schedule();
    }
  }
}
