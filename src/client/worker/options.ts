import { ttlMsRange, waitMsMax } from '../../protocol/claims.ts';
import { claimsPerCallMax, type TakenRun } from '../../protocol/runs.ts';
import type { SignalboxClient } from '../client.ts';
import type { OutcomeRule } from './outcomes.ts';

/** What a handler knows besides its run. */
export interface RunContext {
  /**
   * Aborts when the run must stop. `signal.reason` says why: `LeaseLostError` (its lease is lost, or two thirds of its ttl
   * passed without a renewal), `ReleaseRequestedError` (somebody cancelled it) or `WorkerStoppingError` (the worker stops,
   * and the grace is over).
   */
  readonly signal: AbortSignal;
  /** 1 for the first grant of the run. */
  readonly attempt: number;
  readonly maxAttempts: number;
  /** Hand it to the resource: it refuses older ones per (queue, slot). */
  readonly fencingToken: number;
  readonly slot: number;
}

/** Returning is success. What throwing means is said by `rules`; without one that fits the run is retried. */
export type RunHandler = (run: TakenRun, context: RunContext) => unknown;

export interface WorkerOptions {
  readonly client: SignalboxClient;
  /** Exactly one of `queue` and `prefix`; '' is the prefix of every queue. */
  readonly queue?: string | undefined;
  readonly prefix?: string | undefined;
  readonly handler: RunHandler;
  /** How many handlers run at a time (1; up to 1000). */
  readonly concurrency?: number | undefined;
  /** Length of the leases. Absent: what each queue has. */
  readonly ttlMs?: number | undefined;
  /** How long one take waits for work (20000). */
  readonly waitMs?: number | undefined;
  /** Default: host:pid:random. Unique per worker. */
  readonly holder?: string | undefined;
  /** The first one whose class the error is an instance of says how the run ends. */
  readonly rules?: readonly OutcomeRule[] | undefined;
  /** What `stop()` uses when it is not told otherwise: 10000 and 5000. */
  readonly graceMs?: number | undefined;
  readonly settleMs?: number | undefined;
}

export interface StopOptions {
  /** How long handlers may go on undisturbed. A later call of `stop` can only shorten it. */
  readonly graceMs?: number | undefined;
  /** How long handlers are waited for after that, their signals aborted; and how long the last reports may take. */
  readonly settleMs?: number | undefined;
}

/** Throws a RangeError or TypeError for options that cannot be. */
export function checkOptions({ queue, prefix, handler, rules = [], ...options }: WorkerOptions): void {
  if ((queue === undefined) === (prefix === undefined)) throw new TypeError('a worker has either a queue or a prefix');
  if (typeof handler !== 'function') throw new TypeError('a worker has a handler');
  if (rules.some(({ error }) => typeof error !== 'function')) throw new TypeError('a rule names a class of errors');
  const { concurrency = 1, ttlMs = ttlMsRange.min, waitMs = 0, graceMs = 0, settleMs = 0 } = options;
  checkRange('concurrency', concurrency, 1, claimsPerCallMax);
  checkRange('ttlMs', ttlMs, ttlMsRange.min, ttlMsRange.max);
  checkRange('waitMs', waitMs, 0, waitMsMax);
  checkStopTimes({ graceMs, settleMs });
}

/** A day at most, as a lease. */
export function checkStopTimes({ graceMs, settleMs }: { readonly graceMs: number; readonly settleMs: number }): void {
  checkRange('graceMs', graceMs, 0, ttlMsRange.max);
  checkRange('settleMs', settleMs, 0, ttlMsRange.max);
}

function checkRange(name: string, value: number, min: number, max: number): void {
  if (!Number.isInteger(value) || value < min || value > max) {
    throw new RangeError(`${name} must be a whole number from ${min} to ${max}, and is ${value}`);
  }
}
