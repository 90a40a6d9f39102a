import { inspect } from 'node:util';
import { withoutSecrets } from '../../protocol/access.ts';
import { delayMsMax } from '../../protocol/claims.ts';
import { ReleaseRequestedError } from '../errors.ts';
import type { Outcome } from '../requests.ts';

/** Thrown or returned by a handler: the run comes again after `afterMs`, or without it after the queue's backoff. */
export class RetryLater extends Error {
  readonly afterMs: number | undefined;

  constructor(afterMs?: number, options: { readonly message?: string; readonly cause?: unknown } = {}) {
    super(options.message ?? 'to be retried later', { cause: options.cause });
    this.name = 'RetryLater';
    this.afterMs = afterMs;
  }
}

/** Thrown or returned by a handler: trying again would not help. The run is kept as a dead letter. */
export class PermanentFailure extends Error {
  constructor(message = 'failed for good', options: { readonly cause?: unknown } = {}) {
    super(message, { cause: options.cause });
    this.name = 'PermanentFailure';
  }
}

/** The reason of a handler's signal when its worker stops and the grace is over. */
export class WorkerStoppingError extends Error {
  constructor() {
    super('the worker stops');
    this.name = 'WorkerStoppingError';
  }
}

/** What a class of errors means for the run. */
export interface OutcomeRule {
  readonly error: abstract new (...args: never[]) => unknown;
  readonly outcome: 'retry' | 'failure' | 'cancelled';
  /** With outcome `retry`; absent: the queue's backoff. */
  readonly retryAfterMs?: number | undefined;
}

/** What a worker reports of a run. */
export interface RunEnding {
  readonly outcome: Outcome;
  readonly retryAfterMs?: number | undefined;
  /** No handler has begun it: the attempt does not count. */
  readonly uncounted?: true | undefined;
  readonly error?: string | undefined;
}

/** A handler that came back. */
export function endingOfReturn(value: unknown, rules: readonly OutcomeRule[]): RunEnding {
  const isControl = value instanceof RetryLater || value instanceof PermanentFailure;
  return isControl ? endingOfError(value, rules) : { outcome: 'success' };
}

/**
 * A handler that threw. If it did so because it was told to stop, that says how the run ends: `cancelled` if somebody asked
 * for its release, back at once if this worker stops. Otherwise the first rule that fits, then the two classes above, and
 * everything else is retried. Whatever no rule names counts as the answer to an abort that has been; its text is kept only
 * if it says more than that.
 */
export function endingOfThrow(error: unknown, rules: readonly OutcomeRule[], signal: AbortSignal): RunEnding {
  const told = signal.aborted ? endingByAbort(signal.reason) : undefined;
  if (told !== undefined && isAbortOf(signal, error)) return told;
  if (told !== undefined && ruleFor(error, rules) === undefined) return { ...told, error: errorText(error) };
  return endingOfError(error, rules);
}

/** A handler that has not ended when its worker must. */
export function endingOfStraggler(signal: AbortSignal): RunEnding {
  return endingByAbort(signal.reason) ?? brokenOff;
}

/** Back into the line at once, as if it had not been taken. */
export function notBegun(reason: string): RunEnding {
  return { outcome: 'retry', retryAfterMs: 0, uncounted: true, error: reason };
}

/** Back into the line at once, for another worker; the attempt counts. */
const brokenOff: RunEnding = {
  outcome: 'retry',
  retryAfterMs: 0,
  error: 'the worker stopped before the handler was done',
};

function endingByAbort(reason: unknown): RunEnding | undefined {
  if (reason instanceof WorkerStoppingError) return brokenOff;
  if (reason instanceof ReleaseRequestedError) return { outcome: 'cancelled' };
  return undefined;
}

/** Platform calls throw the reason itself, or an AbortError. */
function isAbortOf(signal: AbortSignal, error: unknown): boolean {
  return error === signal.reason || (error instanceof Error && error.name === 'AbortError');
}

const readyMade: readonly OutcomeRule[] = [
  { error: RetryLater, outcome: 'retry' },
  { error: PermanentFailure, outcome: 'failure' },
];

function ruleFor(error: unknown, rules: readonly OutcomeRule[]): OutcomeRule | undefined {
  return [...rules, ...readyMade].find((rule) => error instanceof rule.error);
}

function endingOfError(error: unknown, rules: readonly OutcomeRule[]): RunEnding {
  const rule = ruleFor(error, rules);
  const outcome = rule?.outcome ?? 'retry';
  const afterMs = rule?.retryAfterMs ?? (error instanceof RetryLater ? error.afterMs : undefined);
  return {
    outcome,
    retryAfterMs: outcome === 'retry' && afterMs !== undefined ? sendableDelay(afterMs) : undefined,
    error: errorText(error),
  };
}

/** One value that the service refuses would keep every ending of the same call from being told. */
function sendableDelay(ms: number): number | undefined {
  return Number.isNaN(ms) ? undefined : Math.round(Math.min(Math.max(ms, 0), delayMsMax));
}

const errorTextMax = 4000;

/** Message, stack and causes as text the service takes: no NUL, well-formed, no token, at most 4000 characters. */
export function errorText(error: unknown): string {
  try {
    const text = withoutSecrets(described(error)).replaceAll('\0', '\ufffd');
    return text.slice(0, errorTextMax).toWellFormed();
  } catch {
    return 'something was thrown that cannot be shown';
  }
}

function described(error: unknown): string {
  if (!(error instanceof Error)) return typeof error === 'string' ? error : inspect(error);
  const stack = error.stack ?? '';
  const text = stack.includes(error.message) && stack !== '' ? stack : `${String(error)}\n${stack}`.trim();
  return error.cause === undefined
    ? text
    : `${text}\ncaused by: ${error.cause instanceof Error ? String(error.cause) : inspect(error.cause)}`;
}
