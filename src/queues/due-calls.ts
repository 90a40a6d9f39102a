/** What is due later than this is found by the watch and the leader, to within a second. */
const aheadMsMax = 10_000;

/**
 * Calls for workers at the moment at which something that this replica delayed is due: a retry after 50 ms is not to wait for
 * the next look around. One timer a queue, for its earliest; what it misses costs latency only.
 */
export class DueCalls implements Disposable {
  readonly #call: (queue: string) => void;
  readonly #timers = new Map<string, { readonly dueAtMs: number; readonly timer: NodeJS.Timeout }>();

  constructor(call: (queue: string) => void) {
    this.#call = call;
  }

  /** Something in this queue is due in so many ms. */
  expect(queue: string, dueInMs: number): void {
    if (dueInMs > aheadMsMax) return;
    const dueAtMs = performance.now() + dueInMs;
    const earlier = this.#timers.get(queue);
    if (earlier !== undefined && earlier.dueAtMs <= dueAtMs) return;
    clearTimeout(earlier?.timer);
    const timer = setTimeout(
      () => {
        this.#timers.delete(queue);
        this.#call(queue);
      },
      // Not before the database's own clock says so.
      Math.ceil(dueInMs) + 2,
    );
    timer.unref();
    this.#timers.set(queue, { dueAtMs, timer });
  }

  [Symbol.dispose](): void {
    for (const { timer } of this.#timers.values()) clearTimeout(timer);
    this.#timers.clear();
  }
}
