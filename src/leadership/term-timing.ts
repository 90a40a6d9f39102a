/** The windows of a term, all in ms, all derived from the one lease that an operator sets. */
export interface TermTiming {
  readonly leaseMs: number;
  /** A third: two renewals may be missed and a third of the lease is still left. */
  readonly renewEveryMs: number;
  /** Two thirds, from the sending of the last renewal that succeeded: the last third is for slow clocks and slow stops. */
  readonly trustMs: number;
  /** A sixth, so that at least two attempts fit between the due renewal and the end of trust; never above 2 s. */
  readonly attemptTimeoutMs: number;
  /** How often a follower looks. */
  readonly followEveryMs: number;
}

/** Throws a RangeError if the lease is not a whole number of ms above 0: with none, everybody would lead. */
export function termTiming(leaseMs: number): TermTiming {
  if (!Number.isSafeInteger(leaseMs) || leaseMs <= 0)
    throw new RangeError(`a leader lease must be a whole number of ms above 0, not ${leaseMs}`);
  return {
    leaseMs,
    renewEveryMs: leaseMs / 3,
    trustMs: (leaseMs * 2) / 3,
    attemptTimeoutMs: Math.min(2000, leaseMs / 6),
    followEveryMs: 500,
  };
}
