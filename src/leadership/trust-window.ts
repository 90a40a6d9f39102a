import type { Clock } from '../runtime/clock.ts';

export interface TrustWindowOptions {
  readonly clock: Clock;
  readonly trustMs: number;
  /** Called once, at the end of the window; at once if it has ended already. Not called after `close()`. */
  readonly onEnd: () => void;
}

/**
 * How long a leader may believe in its term without asking: measured on the local monotonic clock from the moment the
 * last successful attempt was sent, so that a slow answer never lengthens it. Once ended it cannot be extended.
 */
export class TrustWindow {
  readonly #options: TrustWindowOptions;
  #untilMs: number;
  #timer: NodeJS.Timeout | undefined;
  #isClosed = false;

  constructor(sentAtMs: number, options: TrustWindowOptions) {
    this.#options = options;
    this.#untilMs = sentAtMs + options.trustMs;
    this.#watch();
  }

  /** ms of trust left, 0 = ended. */
  remainingMs(): number {
    return this.#isClosed ? 0 : Math.max(0, this.#untilMs - this.#options.clock.monotonicMs());
  }

  /** An attempt sent at `sentAtMs` succeeded. It counts only if its answer came while the window was open. */
  extend(sentAtMs: number): void {
    if (this.remainingMs() > 0) this.#untilMs = Math.max(this.#untilMs, sentAtMs + this.#options.trustMs);
    this.#watch();
  }

  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#timer);
  }

  #watch(): void {
    if (this.#isClosed) return;
    clearTimeout(this.#timer);
    const leftMs = this.remainingMs();
    if (leftMs > 0) {
      this.#timer = setTimeout(() => this.#watch(), leftMs);
    } else {
      this.close();
      this.#options.onEnd();
    }
  }
}
