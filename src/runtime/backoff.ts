/** All randomness of timing lives here, so that no period and no retry of two replicas falls into step. */

/** A period spread by ± `spread` (a fraction, default 0.1), in ms. */
export function jittered(periodMs: number, spread = 0.1): number {
  return periodMs * (1 - spread + Math.random() * 2 * spread);
}

/** When a loop makes its first round: somewhere in its first period, and within a second. */
export function startDelayMs(periodMs: number): number {
  return Math.random() * Math.min(periodMs, 1000);
}

export interface BackoffOptions {
  readonly firstMs: number;
  readonly maxMs: number;
}

/**
 * Exponential backoff with full jitter: attempt 0 waits up to `firstMs`, each further one up to twice as long, never
 * above `maxMs`, and always at least a tenth of the present ceiling so that a failing loop cannot spin.
 */
export function backoffMs(attempt: number, { firstMs, maxMs }: BackoffOptions): number {
  const ceilingMs = Math.min(maxMs, firstMs * 2 ** Math.min(attempt, 30));
  return ceilingMs * (0.1 + 0.9 * Math.random());
}
