import { type Clock, systemClock } from '../../runtime/clock.ts';
import type { SignalboxClient } from '../client.ts';
import { LeaseLostError, ReleaseRequestedError } from '../errors.ts';
import type { LeaseKeeper } from '../lease-keeper.ts';
import type { LeaseScope } from '../lease-scope.ts';
import type { Outcome } from '../requests.ts';
import { ResignedError } from './errors.ts';
import { watchForHandOver } from './hand-over.ts';

/**
 * A led term. Its lease is renewed until it resigns, also when `signal` has aborted, so that the work may stop undisturbed:
 * who does not lead any longer must resign, or nobody else can.
 */
export interface Leadership extends Omit<LeaseScope, 'also'> {
  readonly election: string;
  /** Its fencing token: grows from leader to leader of an election. Give it with every write that only a leader may do. */
  readonly term: number;
  /**
   * Aborts when it must not lead any longer: `LeaseLostError` (two thirds of the ttl without a renewal, or the lease is
   * over), `ReleaseRequestedError` (it is asked to hand over: stop, then resign; the lease is renewed meanwhile),
   * `ResignedError`.
   */
  readonly signal: AbortSignal;
  /** Whether it leads, by its own clock at this moment: also right where a busy process has not come to its timers yet. */
  readonly leads: boolean;
  /** Until when it leads if nothing renews its lease, on this process's monotonic clock (`performance.now()`). */
  readonly leadsUntilMs: number;
  /**
   * Steps down: `signal` aborts first, then the lease is released, and the next in line has it with the same commit. The
   * work must be over, or not mind. Disposing does the same.
   */
  resign(): Promise<void>;
}

/** A lease of slot 1 as a term: looks out for those who want to have it, and keeps to its own deadline. */
export class LedTerm implements Leadership {
  readonly #scope: LeaseScope;
  readonly #clock: Clock;
  readonly #over = new AbortController();
  readonly #signal: AbortSignal;

  constructor(
    client: SignalboxClient,
    scope: LeaseScope,
    { lookEveryMs, clock = systemClock }: { readonly lookEveryMs: number; readonly clock?: Clock },
  ) {
    this.#scope = scope;
    this.#clock = clock;
    this.#signal = AbortSignal.any([scope.signal, this.#over.signal]);
    void watchForHandOver(client, scope.keeper.lease, {
      everyMs: lookEveryMs,
      signal: this.#signal,
      onRequested: () => this.stepDown(new ReleaseRequestedError()),
      onOver: (reason) => this.stepDown(new LeaseLostError(reason)),
    });
  }

  get election(): string {
    return this.#scope.keeper.lease.queue;
  }

  get term(): number {
    return this.#scope.fencingToken;
  }

  get fencingToken(): number {
    return this.#scope.fencingToken;
  }

  get slot(): number {
    return this.#scope.slot;
  }

  get claimId(): string {
    return this.#scope.claimId;
  }

  get holder(): string {
    return this.#scope.holder;
  }

  get keeper(): LeaseKeeper {
    return this.#scope.keeper;
  }

  get signal(): AbortSignal {
    return this.#signal;
  }

  get leads(): boolean {
    return !this.#signal.aborted && this.#clock.monotonicMs() < this.leadsUntilMs;
  }

  get leadsUntilMs(): number {
    return this.#scope.keeper.window.stopAtMs;
  }

  /** Leads no longer, for this reason; the lease is kept until it is released. */
  stepDown(reason: unknown): void {
    this.#over.abort(reason);
  }

  release(outcome?: Outcome): Promise<void> {
    this.stepDown(new ResignedError());
    return this.#scope.release(outcome);
  }

  resign(): Promise<void> {
    return this.release();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.release();
  }
}
