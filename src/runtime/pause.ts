import { setTimeout as sleep } from 'node:timers/promises';

/** Whether the signal has been aborted by now: asked again after an `await`, when the compiler still remembers "no". */
export function isAborted(signal: AbortSignal): boolean {
  return signal.aborted;
}

/** A wait that ends early when it is told to, or when its signal aborts. It never throws: look at the signal next. */
export class Pause {
  #wake: (() => void) | undefined;

  /** Waits `ms`; 0 or less ends at once. One wait at a time. */
  async wait(ms: number, signal: AbortSignal): Promise<void> {
    if (ms <= 0 || signal.aborted) return;
    const woken = new AbortController();
    this.#wake = () => woken.abort();
    try {
      await sleep(ms, undefined, { signal: AbortSignal.any([signal, woken.signal]) });
    } catch {
      // Ended early; nothing else can reject.
    } finally {
      this.#wake = undefined;
    }
  }

  /** Ends the present wait; false if there is none. */
  end(): boolean {
    this.#wake?.();
    return this.#wake !== undefined;
  }
}
