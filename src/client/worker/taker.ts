import { randomUUID } from 'node:crypto';
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { TakenRun } from '../../protocol/runs.ts';
import { backoffMs } from '../../runtime/backoff.ts';
import type { Clock } from '../../runtime/clock.ts';
import { isAborted, Pause } from '../../runtime/pause.ts';
import { isTransient } from '../answer.ts';
import type { SignalboxClient } from '../client.ts';
import type { TakeRequest } from '../requests.ts';

export interface TakerOptions {
  readonly client: SignalboxClient;
  readonly clock: Clock;
  readonly request: TakeRequest & { readonly wait_ms: number };
  /** How many runs could be worked on now. */
  readonly freePlaces: () => number;
  readonly onTaken: (runs: readonly TakenRun[], sentAtMs: number) => void;
  /** Told of every take that failed; the next one comes with backoff. */
  readonly onError: (error: unknown) => void;
}

/** How long a stopping worker asks what its last take has granted. What it does not learn comes back at its lease's end. */
const recoverMs = 3000;

/**
 * Takes runs, one call at a time, never more than there are free places. A take without an answer may have been granted:
 * it is repeated under its request id until there is one, so that nothing lies about that nobody works on.
 */
export class Taker {
  readonly #options: TakerOptions;
  readonly #fullPause = new Pause();
  /** Sent, and not answered for certain. */
  #unanswered: TakeRequest | undefined;

  constructor(options: TakerOptions) {
    this.#options = options;
  }

  /** A place may have become free. */
  nudge(): void {
    this.#fullPause.end();
  }

  /** Takes until the signal aborts; never throws. Call `recover` next. */
  async run(signal: AbortSignal): Promise<void> {
    let failures = 0;
    let empties = 0;
    while (!isAborted(signal)) {
      // What ends within one turn is asked for in one call.
      await nextTurn();
      if (isAborted(signal)) return;
      const request = (this.#unanswered ??= this.#nextRequest());
      if (request === undefined) {
        await this.#fullPause.wait(60_000, signal);
        continue;
      }
      const startedAtMs = this.#options.clock.monotonicMs();
      try {
        const count = await this.#take(request, { signal });
        failures = 0;
        empties = count > 0 ? 0 : empties + 1;
      } catch (error) {
        if (isAborted(signal)) return;
        this.#options.onError(error);
        await new Pause().wait(Math.max(askedPauseMs(error), backoffMs(failures++, backoff)), signal);
        continue;
      }
      // A long-poll that waited has paused enough; one that came back empty at once must not spin.
      const tookMs = this.#options.clock.monotonicMs() - startedAtMs;
      if (empties > 0) await new Pause().wait(backoffMs(empties - 1, backoff) - tookMs, signal);
    }
  }

  /**
   * What the take that was broken off has granted, by repeating it without waiting: all of it, however many are asked for.
   * If it had granted nothing this may be one new run: `onTaken` must give everything back. Never throws.
   */
  async recover(giveUp: AbortSignal): Promise<void> {
    const signal = AbortSignal.any([giveUp, AbortSignal.timeout(recoverMs)]);
    for (let failures = 0; this.#unanswered !== undefined && !isAborted(signal); failures++) {
      try {
        await this.#take({ ...this.#unanswered, max: 1, wait_ms: 0 }, { signal, timeoutMs: recoverMs / 2 });
      } catch (error) {
        if (!isAborted(signal)) this.#options.onError(error);
        await new Pause().wait(backoffMs(failures, backoff), signal);
      }
    }
    this.#unanswered = undefined;
  }

  #nextRequest(): TakeRequest | undefined {
    const max = this.#options.freePlaces();
    return max > 0 ? { ...this.#options.request, max, request_id: randomUUID() } : undefined;
  }

  async #take(request: TakeRequest, options: { signal: AbortSignal; timeoutMs?: number }): Promise<number> {
    let sentAtMs = 0;
    const onSend = (atMs: number) => (sentAtMs = atMs);
    try {
      const runs = await this.#options.client.take(request, { ...options, onSend, retry: { attempts: 1 } });
      this.#unanswered = undefined;
      this.#options.onTaken(runs, sentAtMs);
      return runs.length;
    } catch (error) {
      // A refusal is an answer: nothing was granted.
      if (!options.signal.aborted && !isTransient(error)) this.#unanswered = undefined;
      throw error;
    }
  }
}

const backoff = { firstMs: 100, maxMs: 2000 } as const;

function askedPauseMs(error: unknown): number {
  const isAsked = typeof error === 'object' && error !== null && 'retryAfterMs' in error;
  return isAsked && typeof error.retryAfterMs === 'number' ? error.retryAfterMs : 0;
}
