/** When a holder begins to stop, must have stopped, and loses its lease, on its own monotonic clock (ms). */
export interface LeaseWindow {
  /** A third of the ttl before the end, two thirds after a full renewal: time to stop working. */
  readonly stopAtMs: number;
  /** A tenth of the ttl before the end: whoever still works is ended. */
  readonly killAtMs: number;
  /** From here on the service may give the place to somebody else. */
  readonly endsAtMs: number;
}

export interface LeaseTimes {
  readonly waited_ms: number;
  readonly ttl_remaining_ms: number;
}

/** The margins of a lease: given up at 2/3 of the ttl, over at 0.9. What is left covers clock drift and stopping. */
const stopMargin = 1 / 3;
const killMargin = 1 / 10;

/**
 * The window of a lease by the answer to a request sent at `sentAtMs`. It counts from sending, not from the answer: the
 * answer's travel time is on the safe side. An answer without usable times gives a window that is over.
 */
export function leaseWindow(sentAtMs: number, times: LeaseTimes, ttlMs: number): LeaseWindow {
  const endsAtMs = sentAtMs + times.waited_ms + times.ttl_remaining_ms;
  if (!Number.isFinite(endsAtMs) || !Number.isFinite(ttlMs)) return { stopAtMs: 0, killAtMs: 0, endsAtMs: 0 };
  return { stopAtMs: endsAtMs - ttlMs * stopMargin, killAtMs: endsAtMs - ttlMs * killMargin, endsAtMs };
}

/** How long a holder has between being told to stop and being ended, in ms. */
export function stopTimeMs(ttlMs: number): number {
  return ttlMs * (stopMargin - killMargin);
}
