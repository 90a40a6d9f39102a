import { randomUUID } from 'node:crypto';
import type { HeldClaim, WaitingClaim } from '../protocol/claims.ts';
import { SignalboxError } from '../protocol/errors.ts';
import { backoffMs } from '../runtime/backoff.ts';
import { type Clock, systemClock } from '../runtime/clock.ts';
import { processIdentity } from '../runtime/ids.ts';
import { isAborted, Pause } from '../runtime/pause.ts';
import { isTransient } from './answer.ts';
import type { SignalboxClient } from './client.ts';
import { leaseWindow, type LeaseWindow } from './lease-window.ts';
import type { AcquireRequest, AlsoQueue, Mode } from './requests.ts';

export interface AcquireLeaseOptions {
  readonly queue: string;
  /** Unique per attempt; default host:pid:random. */
  readonly holder?: string | undefined;
  /** Default: a new one. The same id and holder continue an earlier wait. */
  readonly claimId?: string | undefined;
  readonly ttlMs?: number | undefined;
  readonly priority?: number | undefined;
  /** Places of the queue it takes. */
  readonly weight?: number | undefined;
  /** More queues, at most 3: a place in all of them, or in none. The lease's `also` says which places. */
  readonly also?: readonly AlsoQueue[] | undefined;
  readonly mode?: Mode | undefined;
  readonly labels?: Readonly<Record<string, string>> | undefined;
  readonly metadata?: Readonly<Record<string, unknown>> | undefined;
  /** Gives up, and cancels the claim, after so long in line (ms). Default: waits for its turn. */
  readonly waitTimeoutMs?: number | undefined;
  /**
   * The service ends the claim as `expired` (`wait_timeout`) if it still waits so long (ms) after it was first asked for,
   * also when nobody asks any more. Default, and at most: the queue's `max_wait_ms`.
   */
  readonly maxWaitMs?: number | undefined;
  /** Claims of one batch stand together in line, in the order in which they came, or by rank (0; smaller first). */
  readonly batch?: string | undefined;
  readonly batchRank?: number | undefined;
  /** Fails after so long (ms) without any answer of the service; 15000 before the first answer, then 60000. */
  readonly unreachableTimeoutMs?: number | undefined;
  /** How long one request waits (ms, 5000): position and reason are as old at most. */
  readonly pollMs?: number;
  /** Told with every look at the line: at the start, then about every `pollMs`. */
  readonly onWaiting?: (position: number, waitingFor: WaitingClaim['waiting_for'], claim: WaitingClaim) => void;
  /** Told of every attempt that got no answer; the next one comes with backoff. */
  readonly onUnreachable?: (error: Error) => void;
  /** Cancels the claim and throws the signal's reason. */
  readonly signal?: AbortSignal | undefined;
}

/** A lease and until when it may be used, if nothing renews it. */
export interface AcquiredLease {
  readonly lease: HeldClaim;
  readonly window: LeaseWindow;
}

/** What a caller must be ready for; only `held` is a lease. */
export type AcquireOutcome =
  | ({ readonly kind: 'held' } & AcquiredLease)
  /** No free place and mode `skip_if_busy`, or the line is full, or the queue closed. No claim is left. */
  | { readonly kind: 'busy'; readonly error: SignalboxError }
  | { readonly kind: 'wait_timeout' }
  /** Somebody ended the claim: `state` is `cancelled`, `expired`, `broken` or `superseded`. */
  | { readonly kind: 'ended'; readonly state: string; readonly reason: string };

/**
 * Stands in line until the claim is held, by long-polls that are all the same idempotent call. A lease comes back with
 * most of its time left: one that is older than a third of its ttl when its answer is read is renewed first. Throws
 * `ServiceUnreachableError` or `SignalboxError` if the service cannot be reached for too long or refuses.
 */
export async function acquireLease(
  client: SignalboxClient,
  options: AcquireLeaseOptions,
  clock: Clock = systemClock,
): Promise<AcquireOutcome> {
  const { queue, signal = new AbortController().signal, waitTimeoutMs = Infinity, pollMs = 5000 } = options;
  const request = {
    holder: options.holder ?? processIdentity(),
    claim_id: options.claimId ?? randomUUID(),
    priority: options.priority,
    weight: options.weight,
    also: options.also,
    ttl_ms: options.ttlMs,
    mode: options.mode,
    labels: options.labels,
    metadata: options.metadata,
    max_wait_ms: options.maxWaitMs,
    batch: options.batch,
    batch_rank: options.batchRank,
  } satisfies AcquireRequest;
  const startedAtMs = clock.monotonicMs();
  const leftMs = () => startedAtMs + waitTimeoutMs - clock.monotonicMs();
  let answeredAtMs = startedAtMs;
  let patienceMs = options.unreachableTimeoutMs ?? 15_000;
  let failures = 0;
  let isInLine = false;
  signal.throwIfAborted();
  for (;;) {
    let sentAtMs = 0;
    const onSend = (atMs: number) => (sentAtMs = atMs);
    try {
      // The first ask does not wait: whoever stands in line learns at once where.
      const waitMs = isInLine ? Math.floor(Math.max(0, Math.min(pollMs, leftMs()))) : 0;
      const claim = await client.acquire(
        queue,
        { ...request, wait_ms: waitMs },
        { signal, onSend, timeoutMs: 5000, retry: { attempts: 1 } },
      );
      [failures, answeredAtMs] = [0, clock.monotonicMs()];
      patienceMs = options.unreachableTimeoutMs ?? 60_000;
      if (claim.state === 'held') {
        const window = leaseWindow(sentAtMs, claim, claim.ttl_ms);
        if (window.endsAtMs - clock.monotonicMs() > (claim.ttl_ms * 2) / 3)
          return { kind: 'held', lease: claim, window };
        const renewed = await client.renew(claim, { signal, onSend, timeoutMs: 5000, retry: { attempts: 1 } });
        return { kind: 'held', lease: claim, window: leaseWindow(sentAtMs, renewed, claim.ttl_ms) };
      }
      isInLine = true;
      options.onWaiting?.(claim.position, claim.waiting_for, claim);
    } catch (error) {
      if (isAborted(signal)) {
        await withdrawClaim(client, queue, request.claim_id, { mayArrive: true });
        throw signal.reason;
      }
      const outcome = refusedOutcome(error);
      if (outcome !== undefined) return outcome;
      // The renewal came too late: how the claim ended is what the next ask answers.
      if (error instanceof SignalboxError && error.code === 'lease_lost') continue;
      if (!isTransient(error)) throw error;
      if (clock.monotonicMs() - answeredAtMs > patienceMs) {
        await withdrawClaim(client, queue, request.claim_id, { mayArrive: true });
        throw error;
      }
      options.onUnreachable?.(error);
      await new Pause().wait(Math.min(backoffMs(failures++, { firstMs: 100, maxMs: 2000 }), leftMs()), signal);
    }
    if (leftMs() <= 0) {
      await withdrawClaim(client, queue, request.claim_id, { mayArrive: false });
      return { kind: 'wait_timeout' };
    }
  }
}

/**
 * Takes a claim back whatever became of it: out of the line, or, if it was granted meanwhile, released. Never throws: what
 * cannot be withdrawn now ends by itself when its client is silent for too long. `mayArrive`: an acquire was sent and not
 * answered, so a claim that is not known yet is asked for again, for up to 3 s.
 */
export async function withdrawClaim(
  client: SignalboxClient,
  queue: string,
  claimId: string,
  { mayArrive }: { readonly mayArrive: boolean },
): Promise<void> {
  const signal = AbortSignal.timeout(3000);
  const options = { signal, timeoutMs: 1500 };
  for (;;) {
    try {
      const claim = await client.cancel(queue, claimId, options);
      if (claim.state === 'held') await client.release(claim, { ...options, outcome: 'cancelled' });
      return;
    } catch (error) {
      // Ended, or not reachable. Not known: overtaken by the cancel, the acquire may still be on its way.
      const isUnknown =
        error instanceof SignalboxError && (error.code === 'claim_not_found' || error.code === 'queue_not_found');
      if (!isUnknown || !mayArrive || signal.aborted) return;
      await new Pause().wait(250, signal);
    }
  }
}

function refusedOutcome(error: unknown): AcquireOutcome | undefined {
  if (!(error instanceof SignalboxError)) return undefined;
  if (['queue_busy', 'queue_full', 'queue_closed', 'quarantined'].includes(error.code)) return { kind: 'busy', error };
  if (error.code !== 'claim_ended') return undefined;
  return { kind: 'ended', state: String(error.extra['state']), reason: String(error.extra['reason']) };
}
