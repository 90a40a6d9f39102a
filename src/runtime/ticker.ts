import { backoffMs, jittered, startDelayMs } from './backoff.ts';
import { isAborted, Pause } from './pause.ts';
import type { Service } from './service.ts';

export interface TickerOptions {
  readonly name: string;
  readonly periodMs: number;
  /** Before the first round; default: somewhere in the first period, and within a second. */
  readonly firstDelayMs?: number;
  /** One round of work. It must end soon after `signal` aborts. `'again'` asks for the next round at once. */
  readonly runOnce: (options: { signal: AbortSignal }) => Promise<'again' | undefined>;
  /** Told about every failed round; the loop goes on with backoff. */
  readonly onError: (error: unknown) => void;
}

/** After an outage everything is back soon: no loop pauses longer than this for having failed. */
const retryWithinMs = 3000;

/**
 * Calls `runOnce` every `periodMs`, jittered, one round at a time; the first round starts within one period. A failed
 * round is reported and the next one comes with backoff (at most 3 s, or one period where that is longer). Stopping aborts the round in flight and
 * waits for it.
 */
export class Ticker implements Service {
  readonly name: string;
  readonly #options: TickerOptions;
  readonly #pause = new Pause();
  #abort: AbortController | undefined;
  #loop: Promise<void> = Promise.resolve();

  constructor(options: TickerOptions) {
    this.name = options.name;
    this.#options = options;
  }

  start(): Promise<void> {
    if (this.#abort === undefined) {
      const { signal } = (this.#abort = new AbortController());
      // Behind the loop that a stop just ended: there is never more than one round at a time.
      this.#loop = this.#loop.then(() => this.#run(signal));
    }
    return Promise.resolve();
  }

  async stop(): Promise<void> {
    this.#abort?.abort();
    this.#abort = undefined;
    await this.#loop;
  }

  /** Ends the present pause, so that the next round starts now. Does nothing while a round runs. */
  nudge(): void {
    this.#pause.end();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  async #run(signal: AbortSignal): Promise<void> {
    const { periodMs, firstDelayMs, runOnce, onError } = this.#options;
    await this.#pause.wait(firstDelayMs ?? startDelayMs(periodMs), signal);
    let failures = 0;
    while (!isAborted(signal)) {
      let pauseMs = jittered(periodMs);
      try {
        const more = await runOnce({ signal });
        failures = 0;
        if (more === 'again') continue;
      } catch (error) {
        if (isAborted(signal)) return;
        onError(error);
        pauseMs = backoffMs(failures++, { firstMs: periodMs, maxMs: Math.max(periodMs, retryWithinMs) });
      }
      await this.#pause.wait(pauseMs, signal);
    }
  }
}
