import { setTimeout as sleep } from 'node:timers/promises';
import { backoffMs, jittered, startDelayMs } from './backoff.ts';
import type { Service } from './service.ts';

export interface TickerOptions {
  readonly name: string;
  readonly periodMs: number;
  /** One round of work. It must end soon after `signal` aborts. `'again'` asks for the next round at once. */
  readonly runOnce: (options: { signal: AbortSignal }) => Promise<'again' | undefined>;
  /** Told about every failed round; the loop goes on with backoff. */
  readonly onError: (error: unknown) => void;
}

/**
 * Calls `runOnce` every `periodMs`, jittered, one round at a time; the first round starts within one period. A failed
 * round is reported and the next one comes with backoff (at most ten periods). Stopping aborts the round in flight and
 * waits for it.
 */
export class Ticker implements Service {
  readonly name: string;
  readonly #options: TickerOptions;
  #abort: AbortController | undefined;
  #loop: Promise<void> = Promise.resolve();
  #nudge: (() => void) | undefined;

  constructor(options: TickerOptions) {
    this.name = options.name;
    this.#options = options;
  }

  start(): Promise<void> {
    if (this.#abort === undefined) {
      this.#abort = new AbortController();
      this.#loop = this.#run(this.#abort.signal);
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
    this.#nudge?.();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  async #run(signal: AbortSignal): Promise<void> {
    const { periodMs, runOnce, onError } = this.#options;
    await this.#pause(startDelayMs(periodMs), signal);
    let failures = 0;
    while (!signal.aborted) {
      let pauseMs = jittered(periodMs);
      try {
        const more = await runOnce({ signal });
        failures = 0;
        if (more === 'again') continue;
      } catch (error) {
        if (signal.aborted) return;
        onError(error);
        pauseMs = backoffMs(failures++, { firstMs: periodMs, maxMs: periodMs * 10 });
      }
      await this.#pause(pauseMs, signal);
    }
  }

  async #pause(ms: number, signal: AbortSignal): Promise<void> {
    const wake = new AbortController();
    this.#nudge = () => wake.abort();
    try {
      await sleep(ms, undefined, { signal: AbortSignal.any([signal, wake.signal]) });
    } catch {
      // Ended early: by stop() or by nudge(). The loop looks at its signal next.
    } finally {
      this.#nudge = undefined;
    }
  }
}
