import type { RenewedLease } from '../../protocol/claims.ts';
import type { TakenRun } from '../../protocol/runs.ts';
import { jittered } from '../../runtime/backoff.ts';
import type { Clock } from '../../runtime/clock.ts';
import { LeaseLostError, ReleaseRequestedError } from '../errors.ts';
import { leaseWindow, type LeaseTimes, type LeaseWindow } from '../lease-window.ts';

/**
 * The lease of one run while its handler works, and the signal that tells the handler to stop.
 *
 *   kept ── 2/3 of the ttl without a renewal ─▶ late (signal aborted, still renewed) ── its end ─▶ lost(no_renewal)
 *   any  ── the service says it is over ──────▶ lost(reason) (signal aborted)
 *   any  ── close() ──────────────────────────▶ closed: the handler has ended, or the run was given back
 *
 * Deadlines count from sending, by the local monotonic clock.
 */
export class HeldRun {
  readonly run: TakenRun;
  /** When its next renewal is due, on the monotonic clock. */
  renewAtMs: number;
  readonly #clock: Clock;
  readonly #onLost: (reason: string) => void;
  readonly #abort = new AbortController();
  readonly #timers: { stop?: NodeJS.Timeout; end?: NodeJS.Timeout } = {};
  #window: LeaseWindow;
  /** When the newest of the renewals was sent that were answered well. */
  #renewedAtMs = 0;
  #isOpen = true;

  /** `sentAtMs`: when the request was sent that was answered with this run. `onLost` is called at most once. */
  constructor(run: TakenRun, sentAtMs: number, clock: Clock, onLost: (reason: string) => void) {
    this.run = run;
    this.#clock = clock;
    this.#onLost = onLost;
    this.#window = leaseWindow(sentAtMs, run, run.ttl_ms);
    this.renewAtMs = this.#window.endsAtMs - (run.ttl_ms * 2) / 3;
    this.#armDeadlines();
  }

  /** Aborts when the run must stop: its lease is late or lost, its release was asked for, its worker stops. */
  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  get window(): LeaseWindow {
    return this.#window;
  }

  /** false: lost, or closed. Nothing is to be reported of it any more. */
  get isOpen(): boolean {
    return this.#isOpen;
  }

  abort(reason: Error): void {
    this.#abort.abort(reason);
  }

  /** A renewal is on its way: the next one comes after a twelfth of the ttl, whatever becomes of this one. */
  renewalSent(atMs: number): void {
    this.renewAtMs = atMs + jittered(Math.max(100, Math.min(this.run.ttl_ms / 12, 5000)));
  }

  renewed(sentAtMs: number, lease: LeaseTimes & Pick<RenewedLease, 'renew_after_ms' | 'release_requested'>): void {
    if (!this.#isOpen) return;
    const window = leaseWindow(sentAtMs, lease, this.run.ttl_ms);
    // Answers may come in another order than they were asked for; the service never shortens a lease.
    if (window.endsAtMs > this.#window.endsAtMs) {
      this.#window = window;
      this.#armDeadlines();
    }
    if (sentAtMs > this.#renewedAtMs) {
      this.#renewedAtMs = sentAtMs;
      this.renewAtMs = sentAtMs + jittered(Math.min(lease.renew_after_ms, this.run.ttl_ms / 3), 0.05);
    }
    if (lease.release_requested) this.#abort.abort(new ReleaseRequestedError());
  }

  lose(reason: string): void {
    if (!this.#isOpen) return;
    this.close();
    this.#abort.abort(new LeaseLostError(reason));
    this.#onLost(reason);
  }

  close(): void {
    this.#isOpen = false;
    for (const timer of Object.values(this.#timers)) clearTimeout(timer);
  }

  #armDeadlines(): void {
    const at = (name: 'stop' | 'end', atMs: number, act: () => void) => {
      clearTimeout(this.#timers[name]);
      this.#timers[name] = setTimeout(act, Math.max(0, atMs - this.#clock.monotonicMs()));
    };
    at('stop', this.#window.stopAtMs, () => this.#abort.abort(new LeaseLostError('no_renewal')));
    at('end', this.#window.endsAtMs, () => this.lose('no_renewal'));
  }
}
