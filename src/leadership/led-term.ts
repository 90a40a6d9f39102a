import type { Epoch } from '../protocol/ids.ts';
import { backoffMs } from '../runtime/backoff.ts';
import type { Clock } from '../runtime/clock.ts';
import { isAborted, Pause } from '../runtime/pause.ts';
import type { Term } from '../store/decisions.ts';
import type { LeadershipEvent, TermEndReason } from './events.ts';
import type { LockAttempts } from './lock-attempts.ts';
import { runTerm, type TermServices } from './term-runner.ts';
import type { TermTiming } from './term-timing.ts';
import { TrustWindow } from './trust-window.ts';

/** A failed renewal is tried again at least twice a second as long as the term is trusted. */
const retry = { firstMs: 100, maxMs: 500 };

export interface LedTermOptions {
  readonly term: Term;
  /** When the campaign that won it was sent, monotonic. */
  readonly sentAtMs: number;
  readonly timing: TermTiming;
  readonly clock: Clock;
  readonly attempts: LockAttempts;
  readonly services: TermServices;
  readonly onEvent: (event: LeadershipEvent) => void;
  readonly onRenewal: (error: unknown) => void;
}

/** One term of this replica: its renewals, its trust, its services. Over once, for one reason, for ever. */
export class LedTerm {
  readonly #options: LedTermOptions;
  readonly #over = new AbortController();
  readonly #trust: TrustWindow;
  #reason: TermEndReason = 'stopping';
  #failedRenewals = 0;

  constructor(options: LedTermOptions) {
    this.#options = options;
    const { clock, sentAtMs, timing } = options;
    this.#trust = new TrustWindow(sentAtMs, { clock, trustMs: timing.trustMs, onEnd: () => this.end('trust_ended') });
  }

  get epoch(): Epoch {
    return this.#options.term.epoch;
  }

  get isOver(): boolean {
    return this.#over.signal.aborted;
  }

  /** ms of trust left without a further renewal; 0 = over. */
  get trustedForMs(): number {
    return this.isOver ? 0 : this.#trust.remainingMs();
  }

  /** The last renewal failed; the term lives on its trust. */
  get cannotRenew(): boolean {
    return this.#failedRenewals > 0;
  }

  /** Aborts the term's signal now; the services stop within `run()`. Only the first reason counts. */
  end(reason: TermEndReason): void {
    if (this.isOver) return;
    this.#reason = reason;
    this.#trust.close();
    this.#over.abort();
  }

  /** Leads until the term is over and its services have stopped. Never rejects. */
  async run(): Promise<TermEndReason> {
    const { term, services, onEvent } = this.#options;
    onEvent({ kind: 'term.started', term });
    const servicesStopped = runTerm(
      {
        term,
        signal: this.#over.signal,
        reportDeposed: (error) => {
          onEvent({ kind: 'term.write_refused', term, error });
          this.end('deposed');
        },
      },
      {
        services,
        onStartFailed: (error) => {
          onEvent({ kind: 'term.service_failed', term, during: 'start', error });
          this.end('service_failed');
        },
        onStopFailed: (error) => onEvent({ kind: 'term.service_failed', term, during: 'stop', error }),
      },
    );
    await Promise.all([this.#keepRenewing(), servicesStopped]);
    onEvent({ kind: 'term.ended', term, reason: this.#reason });
    return this.#reason;
  }

  /** Returns when the term is over; an attempt under way then is left to its own timeout, its answer counts no more. */
  async #keepRenewing(): Promise<void> {
    const { timing, clock, attempts } = this.#options;
    const { signal } = this.#over;
    const pause = new Pause();
    let renewedAtMs = this.#options.sentAtMs;
    while (!isAborted(signal)) {
      // Not jittered: one leader has nobody to fall into step with.
      const dueInMs = renewedAtMs + timing.renewEveryMs - clock.monotonicMs();
      await pause.wait(this.cannotRenew ? backoffMs(this.#failedRenewals - 1, retry) : dueInMs, signal);
      if (isAborted(signal)) return;
      const sentAtMs = clock.monotonicMs();
      try {
        const outcome = await unlessAborted(attempts.renew(this.epoch), signal);
        if (outcome === undefined) return;
        if (outcome.kind === 'deposed') {
          this.end('deposed');
          return;
        }
        this.#trust.extend(sentAtMs);
        renewedAtMs = sentAtMs;
        this.#failedRenewals = 0;
        this.#options.onRenewal(null);
      } catch (error) {
        this.#failedRenewals++;
        this.#options.onRenewal(error);
      }
    }
  }
}

/** undefined if the signal aborts first. Nothing of it stays on the signal, which lives for a whole term. */
async function unlessAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T | undefined> {
  const { promise: aborted, resolve } = Promise.withResolvers<undefined>();
  const onAbort = () => resolve(undefined);
  signal.addEventListener('abort', onAbort, { once: true });
  if (signal.aborted) onAbort();
  try {
    return await Promise.race([work, aborted]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}
