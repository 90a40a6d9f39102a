import { setTimeout as sleep } from 'node:timers/promises';

/**
 * How much later than asked for a process of this machine woke up and had an answer to a simple question, at worst. A test that
 * proves a promise of the kind "within a second" adds a few of these to its bound: next to nothing where the machine is idle, and
 * where it is so busy that everybody waits, what everybody waits.
 */
export class StallMeter implements AsyncDisposable {
  worstMs = 0;
  readonly #stop = new AbortController();
  readonly #loop: Promise<void>;

  /** `ask` is the simplest question to those whose time is measured. */
  constructor(ask: () => Promise<unknown>) {
    this.#loop = this.#measure(ask);
  }

  async #measure(ask: () => Promise<unknown>): Promise<void> {
    while (!this.#stop.signal.aborted) {
      const fromMs = performance.now();
      await sleep(50);
      await ask();
      this.worstMs = Math.max(this.worstMs, performance.now() - fromMs - 50);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#loop;
  }
}
