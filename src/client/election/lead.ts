import { SignalboxError } from '../../protocol/errors.ts';
import { backoffMs } from '../../runtime/backoff.ts';
import { systemClock } from '../../runtime/clock.ts';
import { isAborted, Pause } from '../../runtime/pause.ts';
import type { SignalboxClient } from '../client.ts';
import { LeaseLostError, ServiceUnreachableError } from '../errors.ts';
import { NotAcquiredError } from '../lease-scope.ts';
import type { Outcome } from '../requests.ts';
import { type CampaignOptions, campaignForTerm } from './campaign.ts';
import type { Leadership, LedTerm } from './leadership.ts';

/** A term that ended before its work was done. */
export interface EndedTerm {
  readonly term: number;
  /** What the leader's `signal` aborted with. */
  readonly reason: unknown;
  /** What the work threw, if it threw. */
  readonly error?: unknown;
}

export type LeadOptions = Omit<CampaignOptions, 'claimId' | 'waitTimeoutMs'> & {
  /** Ends it: the leader's `signal` aborts, the work ends, the place is handed on, and `lead` throws the signal's reason. */
  readonly signal?: AbortSignal | undefined;
  /** Told of every term that ended early; it stands again after that. */
  readonly onTermEnded?: ((ended: EndedTerm) => void) | undefined;
  /** Told of every campaign that failed; it stands again after that. */
  readonly onCampaignFailed?: ((error: Error) => void) | undefined;
};

/** Waits between campaigns, jittered: candidates that lost their leader together do not come back together. */
const backoff = { firstMs: 200, maxMs: 5000 };

/**
 * Does `work` as the leader, once. It campaigns, calls `work` with the term, and resigns when `work` has ended. If the term
 * ended before the work did (lost, asked to hand over, resigned) it waits for `work` to end, whatever it gives or throws,
 * and stands again, behind those who wait; so `work` may be called many times, never twice at once. Returns what `work`
 * returns while it still leads, and throws what it throws then. A service that is away is waited for without end; what it
 * refuses is thrown.
 *
 * While `work` stops after a request to hand over its lease is renewed, so nobody leads beside it. After a lost lease that
 * cannot be: `work` has a third of the ttl to end, as long as its process runs.
 */
export async function lead<T>(
  client: SignalboxClient,
  options: LeadOptions,
  work: (leader: Leadership) => Promise<T> | T,
): Promise<T> {
  const { onTermEnded, onCampaignFailed, ...candidacy } = options;
  const { signal = new AbortController().signal } = options;
  let failures = 0;
  for (;;) {
    signal.throwIfAborted();
    try {
      // Annotated: the options are a union, of which a rest has lost the names.
      const term = await campaignForTerm(client, { ...candidacy, signal } as CampaignOptions);
      const startedAtMs = systemClock.monotonicMs();
      const end = await workFor(term, work, signal);
      if (end.kind === 'done') return end.value;
      signal.throwIfAborted();
      const hasLasted = systemClock.monotonicMs() - startedAtMs > term.keeper.lease.ttl_ms;
      failures = end.reason instanceof LeaseLostError && !hasLasted ? failures + 1 : 0;
      const { reason, error } = end;
      onTermEnded?.({ term: term.term, reason, ...(error === undefined ? {} : { error }) });
    } catch (error) {
      signal.throwIfAborted();
      if (error instanceof WorkFailed) throw error.cause;
      if (!mayStandAgain(error)) throw error;
      failures++;
      onCampaignFailed?.(error);
    }
    await new Pause().wait(backoffMs(failures, backoff), signal);
  }
}

/** What `work` threw while it led: apart from what a campaign throws. */
class WorkFailed extends Error {}

type TermEnd<T> =
  | { readonly kind: 'done'; readonly value: T }
  | { readonly kind: 'over'; readonly reason: unknown; readonly error?: unknown };

async function workFor<T>(
  term: LedTerm,
  work: (leader: Leadership) => Promise<T> | T,
  signal: AbortSignal,
): Promise<TermEnd<T>> {
  const stop = () => term.stepDown(signal.reason);
  signal.addEventListener('abort', stop);
  if (isAborted(signal)) stop();
  let outcome: Outcome = 'cancelled';
  try {
    const value = await work(term);
    if (!term.leads) return { kind: 'over', reason: whyOver(term) };
    outcome = 'success';
    return { kind: 'done', value };
  } catch (error) {
    if (!term.leads) return { kind: 'over', reason: whyOver(term), error };
    outcome = 'failure';
    throw new WorkFailed('', { cause: error });
  } finally {
    signal.removeEventListener('abort', stop);
    await term.release(outcome);
  }
}

/** Also for a term whose deadline has passed and whose timers have not run yet. */
function whyOver({ signal }: LedTerm): unknown {
  return signal.aborted ? signal.reason : new LeaseLostError('no_renewal');
}

function mayStandAgain(error: unknown): error is Error {
  if (error instanceof NotAcquiredError || error instanceof ServiceUnreachableError) return true;
  return error instanceof SignalboxError && error.status >= 500;
}
