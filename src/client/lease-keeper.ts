import { EventEmitter } from 'node:events';
import type { HeldClaim, RenewedLease } from '../protocol/claims.ts';
import { SignalboxError } from '../protocol/errors.ts';
import { jittered } from '../runtime/backoff.ts';
import { type Clock, systemClock } from '../runtime/clock.ts';
import type { AcquiredLease } from './acquire-lease.ts';
import type { SignalboxClient } from './client.ts';
import { LeaseLostError } from './errors.ts';
import { leaseWindow, type LeaseWindow } from './lease-window.ts';

export interface LeaseKeeperEvents {
  /** The window has moved on. */
  renewed: [lease: RenewedLease];
  /** Somebody cancelled the claim: stop soon and release. Once. */
  release_requested: [];
  /** The lease is over. `no_renewal`: 0.9 of the ttl passed without one; renewing goes on. Other reasons are final. Once. */
  lost: [reason: string];
  /** One attempt failed; the next one is already planned. */
  renewal_failed: [error: Error];
}

/** Refusals after which this token can never hold again. */
const finalCodes: readonly string[] = ['lease_lost', 'token_mismatch', 'claim_not_found', 'queue_not_found'];

/**
 * Renews one lease in the background.
 *
 *   kept ── 2/3 of the ttl without a renewal ─▶ late (signal aborted) ── 0.9 ─▶ lost(no_renewal)
 *   any  ── the service says it is over ──────▶ over (signal aborted, lost(reason)), no more renewals
 *   any  ── stop() ───────────────────────────▶ stopped
 *
 * A renewal is sent a third of the ttl after the last good one was sent, and then again every twelfth, without waiting for
 * those under way: one attempt that hangs costs nothing. Only `stop()` and a final refusal end it, never a timer: a
 * holder that is late is still renewed while it stops. Deadlines count from sending, by the local monotonic clock.
 */
export class LeaseKeeper implements AsyncDisposable {
  readonly lease: HeldClaim;
  readonly #client: SignalboxClient;
  readonly #clock: Clock;
  readonly #events = new EventEmitter<LeaseKeeperEvents>();
  readonly #late = new AbortController();
  readonly #stopped = new AbortController();
  readonly #underWay = new Set<Promise<void>>();
  readonly #timers: { renew?: NodeJS.Timeout; stop?: NodeJS.Timeout; kill?: NodeJS.Timeout } = {};
  #window: LeaseWindow;
  #isReleaseRequested = false;
  #lostReason: string | undefined;

  /** Renewing begins at once. */
  constructor(client: SignalboxClient, { lease, window }: AcquiredLease, clock: Clock = systemClock) {
    this.#client = client;
    this.#clock = clock;
    this.lease = lease;
    this.#window = window;
    this.#armDeadlines();
    this.#renewAt(window.endsAtMs - (lease.ttl_ms * 2) / 3);
    if (lease.release_requested) queueMicrotask(() => this.#requestRelease());
  }

  /** Aborts when two thirds of the ttl have passed without a renewal, or the lease is lost: stop working. */
  get signal(): AbortSignal {
    return this.#late.signal;
  }

  get window(): LeaseWindow {
    return this.#window;
  }

  /** Why the lease is lost, as far as this process knows. */
  get lostReason(): string | undefined {
    return this.#lostReason;
  }

  on<Name extends keyof LeaseKeeperEvents>(name: Name, listener: (...event: LeaseKeeperEvents[Name]) => void): this {
    this.#events.on(name, listener as never);
    return this;
  }

  /** Ends renewing and waits for what is under way. The lease stays as it is: release it, or let it expire. */
  async stop(): Promise<void> {
    this.#stopped.abort();
    for (const timer of Object.values(this.#timers)) clearTimeout(timer);
    await Promise.all(this.#underWay);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  #renewAt(atMs: number): void {
    clearTimeout(this.#timers.renew);
    if (this.#stopped.signal.aborted) return;
    this.#timers.renew = setTimeout(
      () => {
        const attempt = this.#renew().finally(() => this.#underWay.delete(attempt));
        this.#underWay.add(attempt);
        this.#renewAt(this.#clock.monotonicMs() + jittered(Math.max(100, Math.min(this.lease.ttl_ms / 12, 5000))));
      },
      Math.max(0, atMs - this.#clock.monotonicMs()),
    );
  }

  async #renew(): Promise<void> {
    const signal = this.#stopped.signal;
    let sentAtMs = 0;
    try {
      const renewed = await this.#client.renew(this.lease, {
        signal,
        onSend: (atMs) => (sentAtMs = atMs),
        timeoutMs: Math.ceil(Math.max(500, Math.min(this.lease.ttl_ms / 3, 10_000))),
        retry: { attempts: 1 },
      });
      if (signal.aborted) return;
      const window = leaseWindow(sentAtMs, renewed, this.lease.ttl_ms);
      // Answers may come in another order than they were asked for; the service never shortens a lease.
      if (window.endsAtMs > this.#window.endsAtMs) this.#window = window;
      this.#armDeadlines();
      this.#renewAt(sentAtMs + jittered(Math.min(renewed.renew_after_ms, this.lease.ttl_ms / 3), 0.05));
      this.#events.emit('renewed', renewed);
      if (renewed.release_requested) this.#requestRelease();
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof SignalboxError && finalCodes.includes(error.code)) {
        this.#stopped.abort();
        for (const timer of Object.values(this.#timers)) clearTimeout(timer);
        const { reason } = error.extra;
        this.#lose(typeof reason === 'string' ? reason : error.code, error);
      } else {
        this.#events.emit('renewal_failed', error instanceof Error ? error : new Error(String(error)));
      }
    }
  }

  #armDeadlines(): void {
    const at = (name: 'stop' | 'kill', atMs: number, act: () => void) => {
      clearTimeout(this.#timers[name]);
      this.#timers[name] = setTimeout(act, Math.max(0, atMs - this.#clock.monotonicMs()));
    };
    at('stop', this.#window.stopAtMs, () => this.#late.abort(new LeaseLostError('no_renewal')));
    at('kill', this.#window.killAtMs, () => this.#lose('no_renewal'));
  }

  #requestRelease(): void {
    if (this.#isReleaseRequested) return;
    this.#isReleaseRequested = true;
    this.#events.emit('release_requested');
  }

  #lose(reason: string, cause?: unknown): void {
    const isFirst = this.#lostReason === undefined;
    this.#lostReason = reason;
    this.#late.abort(new LeaseLostError(reason, { cause }));
    if (isFirst) this.#events.emit('lost', reason);
  }
}
