import { backoffMs, jittered } from '../runtime/backoff.ts';
import type { LeaseFolder, LeaseRecord } from './lease-record.ts';
import type { AcquireOutcome, LeaseService } from './lease-service.ts';
import { ActionProblem } from './problem.ts';
import type { Progress } from './progress.ts';
import type { TimeLimit } from './time-limit.ts';
import { pause } from './time-limit.ts';

/** What is left idle by a hand-over that nobody pushes is at most this; the same as the original's action. */
const pollEveryMs = 15_000;

/** Below what proxies and balancers cut off as idle by default. */
const longPollMs = 25_000;

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
  for (let failures = 0; ;) {
    const sentAtMs = performance.now();
    const waitMs = Math.floor(Math.min(longPollMs, limit.leftMs()));
    folder.writeRecord({ ...record, isUnsure: true });
    const outcome = await service.acquire({ priority, requestId, holdTtlMs, waitMs }, limit.signal);
    failures = outcome.kind === 'unavailable' ? failures + 1 : 0;
    // Once an answer was lost the next one tells how things stand; a lost one after it leaves them unknown again.
    if (outcome.kind !== 'unavailable') folder.writeRecord({ ...record, isUnsure: false });
    const againInMs = (afterMs: number) => Math.max(100, jittered(afterMs) - (performance.now() - sentAtMs));
    switch (outcome.kind) {
      case 'acquired':
      case 'completed':
        return outcome;
      case 'pending':
        progress.pending(outcome.wait);
        await pause(againInMs(outcome.pollAfterMs ?? pollEveryMs), limit.signal);
        break;
      case 'kept_out':
        progress.keptOut(outcome.why);
        await pause(againInMs(outcome.retryAfterMs ?? pollEveryMs), limit.signal);
        break;
      case 'unavailable': {
        const afterMs = Math.max(outcome.retryAfterMs ?? 0, backoffMs(failures - 1, { firstMs: 1000, maxMs: 30_000 }));
        progress.unavailable(outcome.why, afterMs);
        await pause(afterMs, limit.signal);
        break;
      }
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
