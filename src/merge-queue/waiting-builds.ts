import { Bell } from '../runtime/bell.ts';

/** A place from which one call waits for news of a merge queue. Leaving is idempotent. */
export interface BuildSeat extends Disposable {
  /**
   * Resolves when something happened, the time is over, the client hung up, or the replica stops. News that came since
   * the last wait is not lost.
   */
  wait(options: { readonly timeoutMs: number; readonly signal: AbortSignal }): Promise<void>;
}

/** The calls that wait on this replica for a merge queue to move: all of one queue are woken at once. */
export class WaitingBuilds {
  readonly #seats = new Map<string, Set<Bell>>();
  readonly #closing = new AbortController();

  /** Enter before asking the database: what happens between the answer and the wait is news. */
  enter(queue: string): BuildSeat {
    const bell = new Bell();
    const present = this.#seats.get(queue) ?? new Set();
    this.#seats.set(queue, present.add(bell));
    return {
      [Symbol.dispose]: () => {
        present.delete(bell);
        if (present.size === 0 && this.#seats.get(queue) === present) this.#seats.delete(queue);
      },
      wait: ({ timeoutMs, signal }) => bell.wait(timeoutMs, signal, this.#closing.signal),
    };
  }

  /** Something happened to this queue. */
  wake(queue: string): void {
    for (const bell of this.#seats.get(queue) ?? []) bell.ring();
  }

  /** The queues somebody waits for. */
  queues(): string[] {
    return [...this.#seats.keys()];
  }

  get size(): number {
    let size = 0;
    for (const seats of this.#seats.values()) size += seats.size;
    return size;
  }

  get isClosed(): boolean {
    return this.#closing.signal.aborted;
  }

  /** Ends every wait, now and from now on: the replica stops. */
  close(): void {
    this.#closing.abort();
  }
}
