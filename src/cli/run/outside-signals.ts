/** What asks a job to end: the CI's TERM, ^C, a closed terminal. */
const names = ['SIGTERM', 'SIGINT', 'SIGHUP'] as const;

/**
 * Catches the signals sent to this process until it is disposed. Those that come while nobody listens are kept for the
 * first listener.
 */
export class OutsideSignals implements Disposable {
  readonly #first = new AbortController();
  readonly #kept: NodeJS.Signals[] = [];
  #listener: ((signal: NodeJS.Signals) => void) | undefined;

  constructor() {
    for (const name of names) process.on(name, this.#onSignal);
  }

  /** Aborts with the first of them. */
  get signal(): AbortSignal {
    return this.#first.signal;
  }

  listen(listener: (signal: NodeJS.Signals) => void): void {
    this.#listener = listener;
    for (const signal of this.#kept.splice(0)) listener(signal);
  }

  [Symbol.dispose](): void {
    for (const name of names) process.off(name, this.#onSignal);
  }

  readonly #onSignal = (signal: NodeJS.Signals): void => {
    if (this.#listener === undefined) this.#kept.push(signal);
    else this.#listener(signal);
    this.#first.abort(new Error(`got ${signal}`));
  };
}
