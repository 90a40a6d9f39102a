import { ClaimId } from '../protocol/ids.ts';
import type { GrantOutcome } from '../protocol/merge-queue.ts';
import type { StoredEnd, StoredEvent } from '../store/merge-queues.ts';
import type { MergeQueueEvent } from './machine/events.ts';

/** What the feed calls the end of a grant. */
const endedAs = {
  success: 'merge_request.succeeded',
  failure: 'merge_request.failed',
  cancelled: 'merge_request.cancelled',
  expired: 'merge_request.expired',
} as const satisfies Record<GrantOutcome, string>;

/** A head sha may be any text, and the name of a claim may not. */
function claimIdOf(headSha: string): string | null {
  return ClaimId.safeParse(headSha).success ? headSha : null;
}

/** The event as the feed tells it. */
export function eventOf(event: MergeQueueEvent, actor: string | undefined): StoredEvent {
  if (event.type === 'opened') return { type: 'merge_queue.opened', claim_id: null, data: {} };
  const { headSha, headRef, priority } = event;
  const about = { head_sha: headSha, head_ref: headRef, priority };
  const told = (type: string, more: Readonly<Record<string, unknown>> = {}): StoredEvent => ({
    type,
    claim_id: claimIdOf(headSha),
    data: { ...about, ...more },
  });
  switch (event.type) {
    case 'acquired':
      return told('merge_request.acquired', { fencing_token: event.fencingToken, waited_ms: event.waitedMs });
    case 'ended':
      return told(endedAs[event.outcome], {
        fencing_token: event.fencingToken,
        ...(event.mergedBatchSize === null ? {} : { merged_batch_size: event.mergedBatchSize }),
      });
    case 'broken':
      return told('merge_request.broken', { fencing_token: event.fencingToken, actor });
    case 'cleared':
      return told('merge_request.cleared', { actor });
    case 'registered':
    case 'updated':
    case 'completed':
    case 'evicted':
      return told(`merge_request.${event.type}`);
    default:
      return event satisfies never;
  }
}

/** What metrics count of the event. `nowMs`: the database's time of the decision that made it. */
export function countedEvent(event: MergeQueueEvent, nowMs: number) {
  return {
    type: eventOf(event, undefined).type,
    ...(event.type === 'acquired' ? { waitedMs: event.waitedMs } : {}),
    ...(event.type === 'ended' || event.type === 'broken' ? { heldMs: Math.max(0, nowMs - event.acquiredAtMs) } : {}),
    ...(event.type === 'ended' ? { mergedBatchSize: event.mergedBatchSize } : {}),
  };
}

const ends = {
  success: { state: 'released', reason: 'released' },
  failure: { state: 'released', reason: 'released' },
  cancelled: { state: 'cancelled', reason: 'cancelled' },
  expired: { state: 'expired', reason: 'hold_ttl' },
  completed: { state: 'superseded', reason: 'completed' },
  evicted: { state: 'expired', reason: 'ttl' },
  cleared: { state: 'broken', reason: 'cleared' },
  broken: { state: 'broken', reason: 'cleared' },
} as const satisfies Record<string, Pick<StoredEnd, 'state' | 'reason'>>;

/** The row of history that an event makes; undefined for those after which the build goes on. */
export function endOf(event: MergeQueueEvent, actor: string | undefined): StoredEnd | undefined {
  if (!('registeredAtMs' in event)) return undefined;
  const isGrant = event.type === 'ended' || event.type === 'broken';
  const outcome = event.type === 'ended' ? event.outcome : undefined;
  return {
    ...ends[outcome ?? (event.type as Exclude<typeof event.type, 'ended'>)],
    claim_id: event.headSha,
    holder: event.requestId ?? event.headRef,
    outcome: outcome ?? null,
    fencing_token: isGrant ? event.fencingToken : null,
    priority: event.priority,
    metadata: {
      head_ref: event.headRef,
      ...(event.type === 'ended' && event.mergedBatchSize !== null ? { merged_batch_size: event.mergedBatchSize } : {}),
    },
    registered_at_ms: event.registeredAtMs,
    acquired_at_ms: isGrant ? event.acquiredAtMs : null,
    expires_at_ms: isGrant ? event.expiresAtMs : null,
    actor: actor ?? null,
  };
}
