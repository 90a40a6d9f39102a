import { backoffMs, jittered } from '../runtime/backoff.ts';
import type { LeaseFolder, LeaseRecord } from './lease-record.ts';
import type { AcquireOutcome, LeaseService } from './lease-service.ts';
import { ActionProblem } from './problem.ts';
import type { Progress } from './progress.ts';
import type { TimeLimit } from './time-limit.ts';
import { pause } from './time-limit.ts';

/** What is left idle by a hand-over that nobody pushes is at most this; the same as the original's action. */
const pollEveryMs = 15_000;

/** What the log tells is never older than that, and no proxy takes the call for idle. */
const longPollMsMax = 15_000;

/** Nothing at first, to tell at once how things stand; then longer and longer while nothing changes. */
function longPollMs(quietCalls: number): number {
  return quietCalls === 0 ? 0 : Math.min(longPollMsMax, 1000 * 2 ** quietCalls);
}

export interface AcquireOptions {
  readonly service: LeaseService;
  readonly folder: LeaseFolder;
  readonly limit: TimeLimit;
  readonly progress: Progress;
}

export type Acquired = Extract<AcquireOutcome, { kind: 'acquired' | 'completed' }>;

/**
 * Asks until the lease is ours or the build needs it no more. The record says before each call that its answer is not known,
 * and after each answer that it is: whoever is killed in between leaves behind that somebody must ask.
 */
export async function acquire(record: LeaseRecord, options: AcquireOptions): Promise<Acquired> {
  const { service, folder, limit, progress } = options;
  const { priority, requestId, holdTtlMs } = record;
  // Of a job that asks again, and of a call whose answer did not come, also after one that was refused.
  let mayHold = record.isUnsure;
  for (let quietCalls = 0, failures = 0; ; quietCalls++) {
    const sentAtMs = performance.now();
    const waitMs = Math.floor(Math.min(longPollMs(quietCalls), limit.leftMs()));
    folder.writeRecord({ ...record, isUnsure: true });
    const outcome = await service.acquire({ priority, requestId, holdTtlMs, waitMs }, limit.signal);
    failures = outcome.kind === 'unavailable' ? failures + 1 : 0;
    if (outcome.kind === 'pending' || outcome.kind === 'kept_out') mayHold = false;
    else if (outcome.kind !== 'refused') mayHold ||= outcome.kind !== 'unavailable' || outcome.mayHaveArrived;
    folder.writeRecord({ ...record, isUnsure: mayHold });
    const tookMs = performance.now() - sentAtMs;
    /**
     * A service that says when to come again can keep the next call waiting, so it is asked at once; but not where it counts
     * calls, or did not keep this one waiting (it is stopping).
     */
    const againInMs = (toldMs: number | undefined, isCounting = false) => {
      const isToHurry = toldMs !== undefined && !isCounting && tookMs >= waitMs / 2;
      return Math.max(jittered(100), isToHurry ? 0 : jittered(toldMs ?? pollEveryMs) - tookMs);
    };
    switch (outcome.kind) {
      case 'acquired':
      case 'completed':
        return outcome;
      case 'pending':
        if (progress.pending(outcome.wait)) quietCalls = 0;
        await pause(againInMs(outcome.pollAfterMs, outcome.wait.waitingFor === 'delay'), limit.signal);
        break;
      case 'kept_out':
        if (progress.keptOut(outcome.why)) quietCalls = 0;
        await pause(againInMs(outcome.retryAfterMs), limit.signal);
        break;
      case 'unavailable': {
        const afterMs = Math.max(outcome.retryAfterMs ?? 0, backoffMs(failures - 1, { firstMs: 1000, maxMs: 30_000 }));
        progress.unavailable(outcome.why, afterMs);
        await pause(afterMs, limit.signal);
        break;
      }
      case 'invalid':
        throw new ActionProblem(`The lease service cannot be understood: ${outcome.why}`);
      case 'refused':
        throw new ActionProblem(`The lease service refuses: ${outcome.why}${hint(outcome.status)}`);
      default:
        outcome satisfies never;
    }
  }
}

function hint(status: number): string {
  if (status === 401) return ' (are token or auth set, and right?)';
  if (status === 403) return ' (the token needs the scope use, and a prefix that covers this merge queue)';
  if (status === 404)
    return ' (is lease_service_url the whole URL up to /merge-queue, and does this merge queue exist?)';
  if (status >= 300 && status < 400) return ' (a redirect: set lease_service_url to where it leads)';
  return '';
}
