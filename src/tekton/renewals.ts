import type { BatchResult } from '../client/batch.ts';
import { leaseWindow } from '../client/lease-window.ts';
import type { SignalboxClient } from '../client/index.ts';
import type { RenewedLease } from '../protocol/claims.ts';
import { SignalboxError } from '../protocol/errors.ts';
import { jittered } from '../runtime/backoff.ts';
import type { Clock } from '../runtime/clock.ts';
import { endedBySomebody } from './asks.ts';
import { claimIdOf } from './claim-name.ts';
import type { Telling } from './telling.ts';
import type { Place, TrackedRun } from './tracked-run.ts';

const callMax = 500;
/** Refusals after which this token can never hold again. */
const finalCodes: readonly string[] = ['lease_lost', 'token_mismatch', 'claim_not_found', 'queue_not_found'];

export interface RenewalsOptions {
  readonly client: SignalboxClient;
  readonly clock: Clock;
  /** Of a lease whose run names none. */
  readonly ttlMs: number;
  readonly telling: Telling;
}

type HeldPlace = Extract<Place, { kind: 'held' }>;

/** Renews what is held, a third of the ttl after the last time, all that is due in one call. */
export class Renewals {
  readonly #options: RenewalsOptions;

  constructor(options: RenewalsOptions) {
    this.#options = options;
  }

  /** The calls that are due, begun. A call that hangs keeps only its own leases waiting, for a third of the shortest ttl. */
  begin(runs: Iterable<TrackedRun>, signal: AbortSignal): readonly Promise<void>[] {
    const nowMs = this.#options.clock.monotonicMs();
    const due = [...runs].filter(
      ({ place, isRenewing, life }) =>
        // A finished one needs its place no more: if its release is never answered, it ends by itself.
        place.kind === 'held' && !isRenewing && life !== 'finished' && place.renewAtMs <= nowMs,
    );
    const calls: Promise<void>[] = [];
    for (let first = 0; first < due.length; first += callMax)
      calls.push(this.renew(due.slice(first, first + callMax), signal));
    return calls;
  }

  /** Renews these now. Never rejects. */
  async renew(group: readonly TrackedRun[], signal: AbortSignal): Promise<void> {
    const { client, telling } = this.#options;
    const held = group.flatMap((tracked) => (tracked.place.kind === 'held' ? [{ tracked, place: tracked.place }] : []));
    for (const { tracked } of held) tracked.isRenewing = true;
    const shortestMs = Math.min(...held.map(({ tracked }) => this.#ttlOf(tracked)));
    try {
      const operations = held.map(({ tracked, place }) => ({
        op: 'renew' as const,
        queue: tracked.queue,
        claim_id: claimIdOf(tracked.run.uid, tracked.attempt),
        fencing_token: place.token,
      }));
      const results: readonly BatchResult[] = await client.batch(operations, {
        signal,
        timeoutMs: Math.ceil(Math.max(500, Math.min(shortestMs / 3, 10_000))),
        retry: { attempts: 1 },
      });
      results.forEach((result, index) => {
        const one = held[index];
        // Released or lost meanwhile: the answer is about a place that it no longer has.
        if (one?.tracked.place === one?.place && one !== undefined)
          this.#take(one.tracked, one.place, result as BatchResult<'renew'>);
      });
      telling.reached();
    } catch (error) {
      if (!signal.aborted) telling.unreachable(error);
      for (const { tracked, place } of held) if (tracked.place === place) this.#again(tracked, place);
    } finally {
      for (const { tracked } of held) tracked.isRenewing = false;
    }
  }

  #take(tracked: TrackedRun, place: HeldPlace, result: BatchResult<'renew'>): void {
    const { clock, telling } = this.#options;
    if (result.ok) {
      const renewed: RenewedLease = result.value;
      const window = leaseWindow(result.sentAtMs, renewed, this.#ttlOf(tracked));
      const renewAtMs = clock.monotonicMs() + jittered(renewed.renew_after_ms, 0.05);
      tracked.place = { ...place, window, renewAtMs };
      if (renewed.release_requested && !tracked.isAskedBack) {
        tracked.isAskedBack = true;
        telling.releaseRequested(tracked, place.token);
      }
      return;
    }
    const { error } = result;
    if (!(error instanceof SignalboxError) || !finalCodes.includes(error.code)) {
      this.#again(tracked, place);
      return;
    }
    const { reason } = error.extra;
    lose(tracked, typeof reason === 'string' ? reason : error.code, telling);
  }

  #again(tracked: TrackedRun, place: HeldPlace): void {
    const pauseMs = Math.max(100, Math.min(this.#ttlOf(tracked) / 12, 5000));
    tracked.place = { ...place, renewAtMs: this.#options.clock.monotonicMs() + jittered(pauseMs) };
  }

  #ttlOf({ demand }: TrackedRun): number {
    return demand?.ttlMs ?? this.#options.ttlMs;
  }
}

/**
 * The service says that the lease is over. The run is read again before anything else: if it has finished meanwhile, another
 * gate released it. A going one asks for its place anew, unless somebody took it away on purpose.
 */
export function lose(tracked: TrackedRun, reason: string, telling: Telling): void {
  const { place } = tracked;
  const token = place.kind === 'held' ? place.token : 0;
  tracked.mustReread = true;
  tracked.askAtMs = 0;
  const why = endedBySomebody('', reason, tracked.life === 'going');
  if (tracked.life === 'going') {
    tracked.lostReason = reason;
    if (reason !== 'released') telling.leaseLost(tracked, token, reason);
  }
  tracked.place = why === undefined ? { kind: 'none' } : { kind: 'ended', why, isTold: false };
}
