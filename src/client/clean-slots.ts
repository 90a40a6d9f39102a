import { randomUUID } from 'node:crypto';
import type { CleaningLease } from '../protocol/cleaning.ts';
import { SignalboxError } from '../protocol/errors.ts';
import { backoffMs, jittered } from '../runtime/backoff.ts';
import { type Clock, systemClock } from '../runtime/clock.ts';
import { processIdentity } from '../runtime/ids.ts';
import { isAborted, Pause } from '../runtime/pause.ts';
import { isTransient } from './answer.ts';
import type { SignalboxClient } from './client.ts';
import { type LeaseScope, scopeOf } from './lease-scope.ts';
import { leaseWindow, type LeaseWindow } from './lease-window.ts';
import type { CleanRequest } from './requests.ts';

export interface DirtySlotOptions {
  readonly queue: string;
  /** Unique per attempt; default host:pid:random. */
  readonly holder?: string | undefined;
  readonly ttlMs?: number | undefined;
  /**
   * How long to wait for a slot to become dirty (ms). Default 0: only what is dirty now. Infinity also outlives the queue: one
   * that was made on first use goes when it is idle, and comes again.
   */
  readonly waitTimeoutMs?: number | undefined;
  /** Fails after so long (ms) without any answer of the service (15000). */
  readonly unreachableTimeoutMs?: number | undefined;
  /** How long one request waits (ms, 20000). */
  readonly pollMs?: number;
  /** Told of every attempt that got no answer; the next one comes with backoff. */
  readonly onUnreachable?: (error: Error) => void;
  /** Told of every look by a wait without end that found no such queue. */
  readonly onMissing?: (error: SignalboxError) => void;
  /** Ends the wait; what comes back then is thrown as the signal's reason. */
  readonly signal?: AbortSignal | undefined;
}

/** Between two looks for a queue that is not there. */
const missingPauseMs = 5000;

/** A dirty slot that this process has, and until when, if nothing renews its lease. */
export interface DirtySlot {
  readonly lease: CleaningLease;
  readonly window: LeaseWindow;
}

/**
 * Takes one dirty slot, by long-polls; undefined: there was none in time. The lease comes back with most of its time left, as
 * `acquireLease` gives it. Throws `ServiceUnreachableError` or `SignalboxError` if the service cannot be reached for too long
 * or refuses, `queue_not_found` too.
 */
export async function takeDirtySlot(
  client: SignalboxClient,
  options: DirtySlotOptions,
  clock: Clock = systemClock,
): Promise<DirtySlot | undefined> {
  const { queue, signal = new AbortController().signal, waitTimeoutMs = 0, pollMs = 20_000 } = options;
  const patienceMs = options.unreachableTimeoutMs ?? 15_000;
  const untilMs = clock.monotonicMs() + waitTimeoutMs;
  const leftMs = () => untilMs - clock.monotonicMs();
  const holder = options.holder ?? processIdentity();
  // An attempt without an answer may have got a slot: asked again by the same id, it is this one.
  let requestId = randomUUID();
  let answeredAtMs = clock.monotonicMs();
  signal.throwIfAborted();
  for (let failures = 0; ;) {
    let sentAtMs = 0;
    const call = { signal, onSend: (atMs: number) => (sentAtMs = atMs), timeoutMs: 5000, retry: { attempts: 1 } };
    try {
      const request = {
        holder,
        ttl_ms: options.ttlMs,
        wait_ms: Math.floor(Math.max(0, Math.min(pollMs, leftMs()))),
        request_id: requestId,
      } satisfies CleanRequest;
      const [lease] = await client.clean(queue, request, call);
      [failures, answeredAtMs] = [0, clock.monotonicMs()];
      if (lease !== undefined) {
        const window = leaseWindow(sentAtMs, lease, lease.ttl_ms);
        if (window.endsAtMs - clock.monotonicMs() > (lease.ttl_ms * 2) / 3) return { lease, window };
        const renewed = await client.renew(lease, call);
        return { lease, window: leaseWindow(sentAtMs, renewed, lease.ttl_ms) };
      }
    } catch (error) {
      if (isAborted(signal)) throw signal.reason;
      if (waitTimeoutMs === Infinity && error instanceof SignalboxError && error.code === 'queue_not_found') {
        [failures, answeredAtMs] = [0, clock.monotonicMs()];
        options.onMissing?.(error);
        await new Pause().wait(jittered(Math.min(missingPauseMs, pollMs)), signal);
        signal.throwIfAborted();
        continue;
      }
      // The renewal came too late, and the slot is dirty again.
      if (error instanceof SignalboxError && error.code === 'lease_lost') requestId = randomUUID();
      else if (!isTransient(error) || clock.monotonicMs() - answeredAtMs > patienceMs) throw error;
      else options.onUnreachable?.(error);
      await new Pause().wait(backoffMs(failures++, { firstMs: 100, maxMs: 2000 }), signal);
      signal.throwIfAborted();
      continue;
    }
    if (leftMs() <= 0) return undefined;
  }
}

export interface CleanSlotsOptions extends Omit<DirtySlotOptions, 'waitTimeoutMs'> {
  /** Goes on when nothing is dirty any more, until `signal` aborts. Default: ends then. */
  readonly watch?: boolean;
}

/**
 * Cleans dirty slots one after another; renewing goes on until `clean` has ended, whatever it does. A slot whose cleaning
 * throws, or whose lease was lost meanwhile, is dirty again, and that is thrown. Resolves with how many were cleaned.
 */
export async function cleanSlots(
  client: SignalboxClient,
  { watch = false, ...options }: CleanSlotsOptions,
  clean: (slot: LeaseScope & { readonly lease: CleaningLease }) => Promise<void> | void,
): Promise<number> {
  for (let cleaned = 0; ; cleaned++) {
    let slot: DirtySlot | undefined;
    try {
      slot = await takeDirtySlot(client, { ...options, waitTimeoutMs: watch ? Infinity : 0 });
    } catch (error) {
      if (options.signal?.aborted === true) return cleaned;
      throw error;
    }
    if (slot === undefined) return cleaned;
    const scope = scopeOf(client, slot);
    let outcome: 'success' | 'failure' = 'failure';
    try {
      await clean({ ...scope, lease: slot.lease });
      scope.keeper.signal.throwIfAborted();
      outcome = 'success';
    } finally {
      await scope.release(outcome);
    }
  }
}
