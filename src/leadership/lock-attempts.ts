import { setTimeout as sleep } from 'node:timers/promises';
import type { Epoch, ReplicaId } from '../protocol/ids.ts';
import type { Clock } from '../runtime/clock.ts';
import type { Database } from '../store/database.ts';
import { campaign, readLeader, renewTerm, resign, type Campaign } from '../store/orchestrator-lock.ts';
import type { TermTiming } from './term-timing.ts';

/** Giving up a term matters most when all else is ending, so it has a budget of its own. */
const resignBudgetMs = 2000;
const resignTries = 3;

/** The elector gave up waiting for an answer, connecting included. Whether the attempt took effect is unknown. */
export class AttemptTimeoutError extends Error {
  constructor(attempt: string, afterMs: number) {
    super(`the database did not answer the ${attempt} within ${Math.round(afterMs)} ms`);
    this.name = 'AttemptTimeoutError';
  }
}

export type AttemptName = 'look' | 'campaign' | 'renew' | 'resign';

export interface LockAttemptsOptions {
  readonly db: Database;
  readonly replicaId: ReplicaId;
  readonly timing: TermTiming;
  readonly clock: Clock;
  readonly onFailure: (attempt: AttemptName, error: unknown) => void;
}

/**
 * The elector's statements, each on its own short timeout that also counts the wait for a connection. What was given up
 * may still take effect: a campaign that wins late, or whose answer was lost, is resigned.
 */
export class LockAttempts {
  readonly #options: LockAttemptsOptions;
  readonly #late = new Set<Promise<void>>();
  /** A campaign got no answer, so a term of ours may exist that nobody leads. */
  #isUnsure = false;

  constructor(options: LockAttemptsOptions) {
    this.#options = options;
  }

  /** Who leads; undefined = nobody. Takes no lock. Throws if unknown. */
  look() {
    const { timeoutMs } = this.#timeout();
    return within(readLeader(this.#options.db, { timeoutMs }), 'look', timeoutMs);
  }

  /** Throws if the outcome is unknown. `sentAtMs` is monotonic. */
  async campaign(): Promise<Campaign & { readonly sentAtMs: number }> {
    const { db, replicaId, timing, clock } = this.#options;
    const { timeoutMs } = this.#timeout();
    const sentAtMs = clock.monotonicMs();
    const work = campaign(db, replicaId, timing.leaseMs, { timeoutMs });
    try {
      const outcome = await within(work, 'campaign', timeoutMs);
      this.#isUnsure = false;
      return { ...outcome, sentAtMs };
    } catch (error) {
      this.#isUnsure = true;
      const late = work.then(
        async (outcome) => {
          if (outcome.kind === 'won') await this.resign(outcome.epoch);
        },
        () => undefined,
      );
      this.#late.add(late);
      void late.finally(() => this.#late.delete(late));
      throw error;
    }
  }

  /** Throws if the outcome is unknown. */
  renew(epoch: Epoch) {
    const { db, replicaId, timing } = this.#options;
    const { timeoutMs } = this.#timeout();
    return within(renewTerm(db, replicaId, epoch, timing.leaseMs, { timeoutMs }), 'renew', timeoutMs);
  }

  /**
   * Gives the term up: three tries, two seconds in all. Never throws. True = it was this replica's and
   * is free now. If every try fails, that is reported and the others wait until the lease ends.
   */
  async resign(epoch: Epoch): Promise<boolean> {
    const { db, replicaId, onFailure } = this.#options;
    const timeoutMs = resignBudgetMs / resignTries;
    for (let tries = 1; ; tries++) {
      try {
        const { kind } = await within(resign(db, replicaId, epoch, { timeoutMs }), 'resign', timeoutMs);
        return kind === 'resigned';
      } catch (error) {
        onFailure('resign', error);
        if (tries === resignTries) return false;
        // Refused at once (the server restarts): the next try a moment later has better luck.
        await sleep(50 * tries);
      }
    }
  }

  /** Before leaving: waits for what was given up (2 s at most) and resigns a term that nobody knows of. Never throws. */
  async settle(): Promise<void> {
    if (this.#late.size > 0) {
      const enough = new AbortController();
      const budget = sleep(resignBudgetMs, undefined, { signal: enough.signal }).catch(() => undefined);
      await Promise.race([Promise.allSettled(this.#late), budget]);
      enough.abort();
    }
    if (!this.#isUnsure) return;
    try {
      const leader = await this.look();
      this.#isUnsure = false;
      if (leader?.leader === this.#options.replicaId) await this.resign(leader.epoch);
    } catch (error) {
      this.#options.onFailure('look', error);
    }
  }

  #timeout(): { readonly timeoutMs: number } {
    return { timeoutMs: this.#options.timing.attemptTimeoutMs };
  }
}

async function within<T>(work: Promise<T>, attempt: AttemptName, timeoutMs: number): Promise<T> {
  const { promise: timeout, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(new AttemptTimeoutError(attempt, timeoutMs)), timeoutMs);
  try {
    // If the timeout comes first, a later failure of `work` is handled by this race and goes nowhere.
    return await Promise.race([work, timeout]);
  } finally {
    clearTimeout(timer);
  }
}
