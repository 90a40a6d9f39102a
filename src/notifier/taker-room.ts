import type { TakeSource } from '../store/takes.ts';

/** One worker that waits for something to take. Leaving is idempotent. */
export interface TakerSeat extends Disposable {
  /**
   * True when called, false when the time is over, the client hung up, or the room closes. A call that came since the
   * last wait is not lost.
   */
  wait(options: { readonly timeoutMs: number; readonly signal: AbortSignal }): Promise<boolean>;
}

interface Taker {
  readonly source: TakeSource;
  isCalled: boolean;
  /** The queue it is called for; undefined: somebody looked for all who wait for its source. */
  calledFor: string | undefined;
  wake: () => void;
}

/**
 * The workers that wait on this replica for a run. Of those that could take from a queue the one that has waited longest
 * is called, one a call, so that a run does not wake them all. Whoever enters does so before asking the database: what
 * becomes ready in between is a call.
 */
export class TakerRoom {
  readonly #takers = new Set<Taker>();
  readonly #closing = new AbortController();

  enter(source: TakeSource): TakerSeat {
    const taker: Taker = { source, isCalled: false, calledFor: undefined, wake: () => undefined };
    this.#takers.add(taker);
    const closing = this.#closing.signal;
    return {
      [Symbol.dispose]: () => {
        this.#takers.delete(taker);
        // A call that it takes along would be lost to the others.
        if (taker.isCalled && taker.calledFor !== undefined) this.call(taker.calledFor);
        else if (taker.isCalled) this.#callAnother(taker);
      },
      wait: ({ timeoutMs, signal }) =>
        new Promise((resolve) => {
          const end = () => {
            clearTimeout(timer);
            signal.removeEventListener('abort', end);
            closing.removeEventListener('abort', end);
            taker.wake = () => undefined;
            // A call that finds its client gone goes to another one when this one leaves.
            const isCalled = taker.isCalled && !signal.aborted;
            if (isCalled) taker.isCalled = false;
            resolve(isCalled);
          };
          const timer = setTimeout(end, Math.max(0, timeoutMs));
          signal.addEventListener('abort', end);
          closing.addEventListener('abort', end);
          taker.wake = end;
          if (taker.isCalled || signal.aborted || closing.aborted || timeoutMs <= 0) end();
        }),
    };
  }

  /** Calls the one that has waited longest of those that could take from this queue. False = there is none. */
  call(queue: string): boolean {
    for (const taker of this.#takers) {
      if (!taker.isCalled && takesFrom(taker.source, queue)) {
        taker.isCalled = true;
        taker.calledFor = queue;
        taker.wake();
        return true;
      }
    }
    return false;
  }

  /** Calls everybody who waits for just this source. */
  callAll(source: TakeSource): void {
    for (const taker of this.#takers) {
      if (!taker.isCalled && sourceKey(taker.source) === sourceKey(source)) {
        taker.isCalled = true;
        taker.calledFor = undefined;
        taker.wake();
      }
    }
  }

  get size(): number {
    return this.#takers.size;
  }

  /** What is waited for, each once. */
  sources(): TakeSource[] {
    return [...new Map([...this.#takers].map(({ source }) => [sourceKey(source), source])).values()];
  }

  /** Ends every wait, now and from now on: the replica stops. */
  close(): void {
    this.#closing.abort();
  }

  #callAnother(gone: Taker): void {
    for (const taker of this.#takers) {
      if (!taker.isCalled && sourceKey(taker.source) === sourceKey(gone.source)) {
        taker.isCalled = true;
        taker.calledFor = undefined;
        taker.wake();
        return;
      }
    }
  }
}

function takesFrom(source: TakeSource, queue: string): boolean {
  return 'queue' in source ? source.queue === queue : queue.startsWith(source.prefix);
}

function sourceKey(source: TakeSource): string {
  return 'queue' in source ? `=${source.queue}` : `^${source.prefix}`;
}
