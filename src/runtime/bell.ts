/**
 * What one waits for to be called. A call that comes while nobody waits is kept for the next wait, so that nothing is lost
 * between an answer and the wait for a better one.
 */
export class Bell {
  #isCalled = false;
  #wake: () => void = nobodyWaits;

  ring(): void {
    this.#isCalled = true;
    this.#wake();
  }

  /** Resolves when it rings, when the time is over, or when one of the signals aborts. One wait at a time. */
  wait(timeoutMs: number, ...signals: readonly AbortSignal[]): Promise<void> {
    return new Promise((resolve) => {
      const end = () => {
        clearTimeout(timer);
        for (const signal of signals) signal.removeEventListener('abort', end);
        this.#wake = nobodyWaits;
        this.#isCalled = false;
        resolve();
      };
      const timer = setTimeout(end, Math.max(0, timeoutMs));
      for (const signal of signals) signal.addEventListener('abort', end);
      this.#wake = end;
      if (this.#isCalled || timeoutMs <= 0 || signals.some(({ aborted }) => aborted)) end();
    });
  }
}

function nobodyWaits(): void {
  // The next wait finds that it rang.
}
