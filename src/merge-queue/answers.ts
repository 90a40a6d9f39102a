import type { MergeAnswer, MergeQueueSettings } from '../protocol/merge-queue.ts';
import type { Decided } from './desk.ts';

/** A client that polls asks at most this seldom, so that what it waits for is not left idle for longer. */
const pollMsMax = 15_000;
const pollMsMin = 100;

/** Often enough not to be forgotten, and never less than every 15 s. */
export function pollEveryMs({ ttl_ms: ttlMs }: MergeQueueSettings): number {
  return Math.max(pollMsMin, Math.min(pollMsMax, Math.floor(ttlMs / 3)));
}

/** `receivedAtMs`: when the call came, on the replica's monotonic clock. */
export function answerOf({ answer, settings, sentAtMs }: Decided, receivedAtMs: number): MergeAnswer {
  const everyMs = pollEveryMs(settings);
  if (answer.kind === 'refused') {
    const mayPass = answer.refusal === 'lease_taken' || answer.refusal === 'queue_full';
    return { ...answer, reason: null, retryAfterMs: mayPass ? everyMs : null };
  }
  if (answer.kind === 'done') throw new Error('this call has no answer');
  const { wait, request, stackedPullRequests, grant } = answer;
  const windowMs = wait?.windowRemainingMs ?? everyMs;
  return {
    kind: 'request',
    request,
    stackedPullRequests,
    grant,
    wait,
    waitedMs: Math.max(0, Math.ceil(sentAtMs - receivedAtMs)),
    pollAfterMs: wait === null ? null : Math.max(pollMsMin, Math.min(everyMs, windowMs)),
  };
}
