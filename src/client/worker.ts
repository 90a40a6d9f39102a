import { EventEmitter } from 'node:events';
import type { TakenRun } from '../protocol/runs.ts';
import { type Clock, systemClock } from '../runtime/clock.ts';
import { processIdentity } from '../runtime/ids.ts';
import { isAborted, Pause } from '../runtime/pause.ts';
import type { Service } from '../runtime/service.ts';
import { isTransient } from './answer.ts';
import { type EndedRun, type EndedState, Endings } from './worker/endings.ts';
import { HeldRun } from './worker/held-run.ts';
import { checkOptions, checkStopTimes, type StopOptions, type WorkerOptions } from './worker/options.ts';
import {
  endingOfReturn,
  endingOfStraggler,
  endingOfThrow,
  notBegun,
  type RunEnding,
  WorkerStoppingError,
} from './worker/outcomes.ts';
import { Renewals } from './worker/renewals.ts';
import { Taker } from './worker/taker.ts';

/** How a run ended, as the service has it. */
export interface RunEnd extends RunEnding {
  /** Where it is now; absent if only a repeated report was confirmed. */
  readonly state?: EndedState | undefined;
  /** Until when it is delayed. */
  readonly dueAt?: string | undefined;
}

export type WorkerCall = 'take' | 'renew' | 'release';

/** Of every run taken, exactly one of `ended`, `retried`, `failed` and `lost` is told in the end. */
export interface WorkerEvents {
  taken: [run: TakenRun];
  /** With outcome `success` or `cancelled`. */
  ended: [run: TakenRun, end: RunEnd];
  /** Back in line; `uncounted` if no handler had begun it. */
  retried: [run: TakenRun, end: RunEnd];
  /** A dead letter now: outcome `failure`, or a retry with no attempt left (`state` dead). */
  failed: [run: TakenRun, end: RunEnd];
  /** The lease was over before the end was reported; the run may be with somebody else. Its handler may still be at work. */
  lost: [run: TakenRun, reason: string];
  /** One call got no answer, or one that blames the service; it is repeated with backoff. */
  unreachable: [error: Error, call: WorkerCall];
  /** One call was refused (wrong token, ttl too long, no such queue …); it is repeated with backoff all the same. */
  refused: [error: Error, call: WorkerCall];
  stopped: [];
}

/**
 * Takes runs and gives them to a handler, at most `concurrency` at a time; renews their leases while handlers work, and
 * reports how they ended.
 *
 *   stopped ──start()──▶ taking ──stop()──▶ grace (no takes, handlers go on, leases are renewed)
 *      ▲                                      │ graceMs
 *      │                                      ▼
 *      └── given back: retry at once ◀── settling (signals aborted, handlers are waited for settleMs)
 *
 * It never holds a run that it does not work on, except for the moments of taking and reporting: what comes too late for a
 * handler to begin it is given back uncounted. A run whose lease is lost is not reported any more, but its place is free
 * only when its handler has ended. A handler that ignores its signal cannot be ended: it keeps its place, and after
 * `stop()` it may work on a run that somebody else has taken again. The fencing token is what protects a resource from it.
 */
export class Worker implements Service {
  readonly name: string;
  readonly holder: string;
  readonly #options: WorkerOptions & { readonly concurrency: number };
  readonly #clock: Clock;
  readonly #events = new EventEmitter<WorkerEvents>();
  readonly #renewals: Renewals;
  readonly #endings: Endings;
  readonly #taker: Taker;
  /** Those whose handlers have not ended, lost ones and given back ones included. */
  readonly #working = new Set<HeldRun>();
  readonly #stopPause = new Pause();
  #taking: AbortController | undefined;
  /** A take is under way, or may be. */
  #isTaking = false;
  #loop: Promise<void> = Promise.resolve();
  #stopping: Promise<void> | undefined;
  /** Abort when the time for it is over. */
  #grace = new AbortController();
  #settling = new AbortController();

  /** Throws a RangeError or TypeError for options that cannot be. */
  constructor(options: WorkerOptions, clock: Clock = systemClock) {
    checkOptions(options);
    const { client, queue, prefix, concurrency = 1, ttlMs, waitMs = 20_000, holder = processIdentity() } = options;
    this.name = `worker of ${queue ?? `${prefix ?? ''}*`}`;
    this.holder = holder;
    this.#options = { ...options, concurrency };
    this.#clock = clock;
    const told = (call: WorkerCall) => (error: unknown) => this.#tellFailure(error, call);
    this.#renewals = new Renewals({ client, holder, clock, onError: told('renew') });
    this.#endings = new Endings({
      client,
      holder,
      clock,
      onEnded: (ended, state, dueAt) => this.#tellEnd(ended, state, dueAt),
      onLost: ({ held }, reason) => this.#tell('lost', held.run, reason),
      onError: told('release'),
    });
    this.#taker = new Taker({
      client,
      clock,
      request: { holder, queue, prefix, ttl_ms: ttlMs, wait_ms: waitMs },
      freePlaces: () => concurrency - this.#working.size,
      onTaken: (runs, sentAtMs) => {
        for (const run of runs) this.#take(run, sentAtMs);
      },
      onError: told('take'),
    });
  }

  /** Handlers that have not ended. */
  get running(): number {
    return this.#working.size;
  }

  on<Name extends keyof WorkerEvents>(name: Name, listener: (...event: WorkerEvents[Name]) => void): this {
    this.#events.on(name, listener as never);
    return this;
  }

  /** Begins to take. A worker that stops is started again when it has stopped. */
  async start(): Promise<void> {
    while (this.#stopping !== undefined) await this.#stopping;
    if (this.#taking !== undefined) return;
    const { signal } = (this.#taking = new AbortController());
    this.#loop = this.#takeUntil(signal);
  }

  /**
   * No more takes, and what no handler has begun goes back at once, uncounted. Handlers go on for `graceMs`, then their
   * signals abort and they are waited for `settleMs`; what is at work even then is given back, to be taken again at once.
   * Resolves when everything is reported, or could not be for another `settleMs`. Throws a RangeError for a time that
   * cannot be.
   */
  async stop(options: StopOptions = {}): Promise<void> {
    const graceMs = options.graceMs ?? this.#options.graceMs ?? 10_000;
    const settleMs = options.settleMs ?? this.#options.settleMs ?? 5000;
    checkStopTimes({ graceMs, settleMs });
    if (this.#taking === undefined) return;
    const grace = setTimeout(() => this.#grace.abort(), graceMs);
    this.#stopping ??= this.#stop(settleMs);
    await this.#stopping;
    clearTimeout(grace);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  async #takeUntil(signal: AbortSignal): Promise<void> {
    this.#isTaking = true;
    await this.#taker.run(signal);
    await this.#taker.recover(this.#settling.signal);
    this.#isTaking = false;
    this.#stopPause.end();
  }

  async #stop(settleMs: number): Promise<void> {
    this.#taking?.abort();
    await this.#untilIdle(this.#grace.signal);
    for (const held of this.#working) held.abort(new WorkerStoppingError());
    const settling = setTimeout(() => this.#settling.abort(), settleMs);
    await this.#untilIdle(this.#settling.signal);
    clearTimeout(settling);
    for (const held of this.#working) {
      if (held.isOpen) this.#report(held, endingOfStraggler(held.signal));
    }
    await this.#loop;
    await Promise.all([this.#renewals.settle(), this.#endings.settle(settleMs)]);
    this.#grace = new AbortController();
    this.#settling = new AbortController();
    this.#taking = undefined;
    this.#stopping = undefined;
    this.#tell('stopped');
  }

  async #untilIdle(signal: AbortSignal): Promise<void> {
    while (!isAborted(signal) && (this.#working.size > 0 || this.#isTaking)) {
      await this.#stopPause.wait(60_000, signal);
    }
  }

  #take(run: TakenRun, sentAtMs: number): void {
    const held = new HeldRun(run, sentAtMs, this.#clock, (reason) => {
      this.#renewals.delete(held);
      this.#tell('lost', run, reason);
    });
    this.#tell('taken', run);
    const isStopping = this.#taking?.signal.aborted !== false;
    // An answer that was long under way: its handler would be told to stop before it had begun.
    const isLate = this.#clock.monotonicMs() >= held.window.stopAtMs;
    // Cancelled before its grant was known; given back it would come again.
    if (run.release_requested) this.#report(held, { outcome: 'cancelled' });
    else if (isStopping) this.#report(held, notBegun('the worker stopped before a handler had begun'));
    else if (isLate) this.#report(held, notBegun('most of the lease was over when its grant was known'));
    else void this.#work(held);
  }

  async #work(held: HeldRun): Promise<void> {
    const { run, signal } = held;
    const { handler, rules = [] } = this.#options;
    this.#working.add(held);
    this.#renewals.add(held);
    let ending: RunEnding;
    try {
      const context = {
        signal,
        attempt: run.attempt,
        maxAttempts: run.max_attempts,
        fencingToken: run.fencing_token,
        slot: run.slot,
      };
      ending = endingOfReturn(await handler(run, context), rules);
    } catch (error) {
      ending = endingOfThrow(error, rules, signal);
    }
    this.#working.delete(held);
    if (held.isOpen) this.#report(held, ending);
    this.#taker.nudge();
    this.#stopPause.end();
  }

  #report(held: HeldRun, ending: RunEnding): void {
    held.close();
    this.#renewals.delete(held);
    this.#endings.add({ held, ending });
  }

  #tellEnd({ held, ending }: EndedRun, state: EndedState | undefined, dueAt: string | undefined): void {
    const end = { ...ending, state, dueAt };
    if (ending.outcome === 'failure' || state === 'dead') this.#tell('failed', held.run, end);
    else this.#tell(ending.outcome === 'retry' ? 'retried' : 'ended', held.run, end);
  }

  #tellFailure(error: unknown, call: WorkerCall): void {
    const shown = error instanceof Error ? error : new Error(String(error));
    this.#tell(isTransient(error) ? 'unreachable' : 'refused', shown, call);
  }

  /** A listener that throws is an uncaught exception, as with any emitter, but breaks nothing off here. */
  #tell<Name extends keyof WorkerEvents>(name: Name, ...event: WorkerEvents[Name]): void {
    try {
      this.#events.emit(name, ...(event as never));
    } catch (error) {
      queueMicrotask(() => {
        throw error;
      });
    }
  }
}
