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
  readonly onBatch?: (size: number) => void;
}

interface Entry<Item, Result> {
  readonly item: Item;
  readonly resolve: (result: Result | Promise<Result>) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * Gathers what arrives in one turn of the event loop, and while earlier batches are in flight, into one call. An idle
 * batcher sends at the end of the turn; it never waits for more.
 */
export class Batcher<Item, Result> {
  readonly #options: BatcherOptions<Item, Result>;
  #pending: Entry<Item, Result>[] = [];
  #inFlight = 0;
  #scheduled = false;

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
      this.#pending.push({ item, resolve, reject });
      this.#schedule();
    });
  }

  #schedule(): void {
    if (this.#scheduled || this.#inFlight >= this.#options.inFlightMax) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      while (this.#pending.length > 0 && this.#inFlight < this.#options.inFlightMax) {
        void this.#send(this.#pending.splice(0, this.#options.batchMax));
      }
    });
  }

  async #send(entries: readonly Entry<Item, Result>[]): Promise<void> {
    this.#inFlight++;
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
      if (this.#pending.length > 0) this.#schedule();
    }
  }
}
