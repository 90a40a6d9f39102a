/** A place from which one call waits for news of a merge queue. Leaving is idempotent. */
export interface BuildSeat extends Disposable {
  /**
   * Resolves when something happened, the time is over, the client hung up, or the replica stops. News that came since
   * the last wait is not lost.
   */
  wait(options: { readonly timeoutMs: number; readonly signal: AbortSignal }): Promise<void>;
}

interface Seated {
  isCalled: boolean;
  wake: () => void;
}

/** The calls that wait on this replica for a merge queue to move: all of one queue are woken at once. */
export class WaitingBuilds {
  readonly #seats = new Map<string, Set<Seated>>();
  readonly #closing = new AbortController();

  /** Enter before asking the database: what happens between the answer and the wait is news. */
  enter(queue: string): BuildSeat {
    const seated: Seated = { isCalled: false, wake: () => undefined };
    const present = this.#seats.get(queue) ?? new Set();
    this.#seats.set(queue, present.add(seated));
    const closing = this.#closing.signal;
    return {
      [Symbol.dispose]: () => {
        present.delete(seated);
        if (present.size === 0 && this.#seats.get(queue) === present) this.#seats.delete(queue);
      },
      wait: ({ timeoutMs, signal }) =>
        new Promise((resolve) => {
          const end = () => {
            clearTimeout(timer);
            signal.removeEventListener('abort', end);
            closing.removeEventListener('abort', end);
            seated.wake = () => undefined;
            seated.isCalled = false;
            resolve();
          };
          const timer = setTimeout(end, Math.max(0, timeoutMs));
          signal.addEventListener('abort', end);
          closing.addEventListener('abort', end);
          seated.wake = end;
          if (seated.isCalled || signal.aborted || closing.aborted || timeoutMs <= 0) end();
        }),
    };
  }

  /** Something happened to this queue. */
  wake(queue: string): void {
    for (const seated of this.#seats.get(queue) ?? []) {
      seated.isCalled = true;
      seated.wake();
    }
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
