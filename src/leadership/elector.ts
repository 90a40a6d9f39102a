import type { Epoch, ReplicaId } from '../protocol/ids.ts';
import { backoffMs, jittered } from '../runtime/backoff.ts';
import type { Clock } from '../runtime/clock.ts';
import { isAborted, Pause } from '../runtime/pause.ts';
import type { Service } from '../runtime/service.ts';
import type { Database } from '../store/database.ts';
import { messageOf, type LeadershipEvent, type TermEndReason } from './events.ts';
import { LedTerm } from './led-term.ts';
import { LockAttempts, type AttemptName } from './lock-attempts.ts';
import type { TermServices } from './term-runner.ts';
import { termTiming, type TermTiming } from './term-timing.ts';

/*
 * follower ──wins a campaign──> leader ──deposed │ trust ended │ service failed──> follower
 *     └───────── stop() ─────────┴──> stopping: services stopped, then resigned ──> stopped
 *
 * follower  looks at the row without a lock, about twice a second and right at the expiry it saw; campaigns only when
 *           nobody leads. A row in its own name is a term it does not know of (the answer was lost): it resigns that.
 * leader    runs the services of the term and renews at a third of the lease. The term ends at once when a renewal or
 *           a write says deposed, when a service cannot start, and when two thirds of the lease have passed since the
 *           last successful attempt was *sent*. For the last the database is not asked: failed, slow, unknown = lost.
 * stopping  the services have stopped before the term is given up; if giving up fails, the lease ends it.
 *
 * Not guaranteed: that only one process believes it leads. One that was stopped in its tracks (SIGSTOP, a frozen VM)
 * wakes up believing. Its writes then carry an old epoch and change nothing; that, not this loop, is what makes it safe.
 */

export interface ElectorOptions {
  readonly db: Database;
  /** `processIdentity()`: never shared by two processes, nor by two electors. */
  readonly replicaId: ReplicaId;
  readonly leaseMs: number;
  readonly clock: Clock;
  readonly services: TermServices;
  readonly onEvent: (event: LeadershipEvent) => void;
}

export interface LeadershipStatus {
  /** `leader_cannot_renew`: still leads within its trust, but the last renewal failed. */
  readonly role: 'follower' | 'leader' | 'leader_cannot_renew';
  /** The epoch of the own term; null as follower. */
  readonly epoch: Epoch | null;
  /** How long the term is trusted without a further renewal; 0 as follower. */
  readonly trustedForMs: number;
  /** Why the last attempt failed; null once one has succeeded. */
  readonly lastError: string | null;
}

/** Of a follower's attempts. Short, because while they fail nobody may be leading. */
const retry = { firstMs: 100, maxMs: 500 };
/** After a term whose services could not start: another replica may have better luck. */
const rest = { firstMs: 1000, maxMs: 30_000 };

/** Takes part in elections while it runs, and runs the services of its terms. See the states above. */
export class Elector implements Service {
  readonly name = 'elector';
  readonly #options: ElectorOptions;
  readonly #timing: TermTiming;
  readonly #attempts: LockAttempts;
  readonly #pause = new Pause();
  /** Not ended by a nudge: the notification of the own resignation would be one. */
  readonly #rest = new Pause();
  #isNudged = false;
  #stopping: AbortController | undefined;
  #loop: Promise<void> = Promise.resolve();
  #leading: LedTerm | undefined;
  #lastError: string | null = null;

  /** Throws a RangeError for a lease that is not above 0 ms or a blank replica id (blank means free). */
  constructor(options: ElectorOptions) {
    if (options.replicaId.trim() === '') throw new RangeError('a replica id must not be blank: blank means free');
    this.#options = options;
    this.#timing = termTiming(options.leaseMs);
    const onFailure = (attempt: AttemptName, error: unknown) => this.#attemptFailed(attempt, error);
    this.#attempts = new LockAttempts({ ...options, timing: this.#timing, onFailure });
  }

  start(): Promise<void> {
    if (this.#stopping === undefined) {
      const { signal } = (this.#stopping = new AbortController());
      this.#loop = this.#loop.then(() => this.#run(signal));
    }
    return Promise.resolve();
  }

  async stop(): Promise<void> {
    this.#stopping?.abort();
    this.#stopping = undefined;
    await this.#loop;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  /** A follower looks now: somebody resigned. */
  nudge(): void {
    // During a pause it is used up by ending that.
    this.#isNudged = !this.#pause.end();
  }

  status(): LeadershipStatus {
    const lastError = this.#lastError;
    const leading = this.#leading;
    if (leading === undefined || leading.isOver) return { role: 'follower', epoch: null, trustedForMs: 0, lastError };
    return {
      role: leading.cannotRenew ? 'leader_cannot_renew' : 'leader',
      epoch: leading.epoch,
      trustedForMs: Math.floor(leading.trustedForMs),
      lastError,
    };
  }

  /** Once per nudge: one that came during an attempt ends the pause behind it. */
  #wasNudged(): boolean {
    const was = this.#isNudged;
    this.#isNudged = false;
    return was;
  }

  async #run(stopping: AbortSignal): Promise<void> {
    let unusableTerms = 0;
    while (!isAborted(stopping)) {
      const won = await this.#follow(stopping);
      if (won === undefined) break;
      const reason = await this.#lead(won, stopping);
      unusableTerms = reason === 'service_failed' ? unusableTerms + 1 : 0;
      if (unusableTerms > 0) await this.#rest.wait(backoffMs(unusableTerms - 1, rest), stopping);
    }
    await this.#attempts.settle();
  }

  /** Until a campaign is won, also one that was under way when `stopping` aborted. */
  async #follow(stopping: AbortSignal): Promise<{ epoch: Epoch; sentAtMs: number } | undefined> {
    const { followEveryMs } = this.#timing;
    let failures = 0;
    while (!isAborted(stopping)) {
      let pauseMs = jittered(followEveryMs);
      let attempt: AttemptName = 'look';
      try {
        let leader = await this.#attempts.look();
        if (leader?.leader === this.#options.replicaId) await this.#attempts.resign(leader.epoch);
        if (isAborted(stopping)) break;
        if (leader === undefined || leader.leader === this.#options.replicaId) {
          attempt = 'campaign';
          const outcome = await this.#attempts.campaign();
          if (outcome.kind === 'won') return outcome;
          leader = outcome;
        }
        failures = 0;
        this.#lastError = null;
        // A few ms late, spread, so that all replicas do not queue for the row in the same millisecond.
        pauseMs = Math.min(pauseMs, leader.remainingMs + 1 + jittered(20, 1));
      } catch (error) {
        this.#attemptFailed(attempt, error);
        pauseMs = backoffMs(failures++, retry);
      }
      if (!this.#wasNudged()) await this.#pause.wait(pauseMs, stopping);
    }
    return undefined;
  }

  /** One term, from the won campaign to the last service stopped and the row given up. */
  async #lead({ epoch, sentAtMs }: { epoch: Epoch; sentAtMs: number }, stopping: AbortSignal): Promise<TermEndReason> {
    const { replicaId, services, clock, onEvent } = this.#options;
    const leading = new LedTerm({
      term: { replicaId, epoch },
      sentAtMs,
      timing: this.#timing,
      clock,
      attempts: this.#attempts,
      services,
      onEvent,
      onRenewal: (error) => (error === null ? (this.#lastError = null) : this.#attemptFailed('renew', error)),
    });
    const onStop = () => leading.end('stopping');
    if (stopping.aborted) onStop();
    stopping.addEventListener('abort', onStop, { once: true });
    this.#leading = leading;
    this.#lastError = null;
    const reason = await leading.run();
    this.#leading = undefined;
    stopping.removeEventListener('abort', onStop);
    // Also after lost trust: the services have stopped, and the others need not wait for the rest of the lease.
    if (reason !== 'deposed' && (await this.#attempts.resign(epoch)))
      onEvent({ kind: 'term.resigned', term: { replicaId, epoch } });
    return reason;
  }

  #attemptFailed(attempt: AttemptName, error: unknown): void {
    this.#lastError = `${attempt}: ${messageOf(error)}`;
    this.#options.onEvent({ kind: 'leadership.attempt_failed', attempt, error });
  }
}
