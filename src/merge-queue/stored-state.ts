import type { MergeQueueId, MergeQueueSettings } from '../protocol/merge-queue.ts';
import type { MergeQueueChange, StoredMergeQueue, StoredRequest } from '../store/merge-queues.ts';
import {
  type Grant,
  type MergeQueueState,
  type PendingRequest,
  type RememberedRequest,
  emptyState,
  holdTtlMsOf,
} from './machine/state.ts';
import { dueAtMs } from './machine/settle.ts';
import { statusOf } from './machine/views.ts';

const outcomes = {
  acquired: null,
  completed: 'success',
  failure: 'failure',
  cancelled: 'cancelled',
  expired: 'expired',
} as const;

function isGrantStatus(status: StoredRequest['status']): status is keyof typeof outcomes {
  return status in outcomes;
}

/** Throws if a row is not what the table's constraints promise: nothing is granted on a state that is not understood. */
function required(value: number | null, what: string): number {
  if (value === null) throw new Error(`a build of a merge queue lacks its ${what}`);
  return value;
}

function pendingOf(row: StoredRequest): PendingRequest {
  return {
    headSha: row.head_sha,
    headRef: row.head_ref,
    priority: row.priority,
    requestId: row.request_id,
    holdTtlMs: row.hold_ttl_ms,
    registeredAtMs: required(row.registered_at_ms, 'registered_at'),
    lastSeenAtMs: row.last_seen_at_ms,
    delaysCounted: row.delays_counted,
  };
}

function grantOf(row: StoredRequest, status: keyof typeof outcomes): Grant {
  return {
    headSha: row.head_sha,
    headRef: row.head_ref,
    priority: row.priority,
    requestId: row.request_id,
    holdTtlMs: row.hold_ttl_ms,
    fencingToken: required(row.fencing_token, 'fencing_token'),
    registeredAtMs: required(row.registered_at_ms, 'registered_at'),
    acquiredAtMs: required(row.acquired_at_ms, 'acquired_at'),
    lastSeenAtMs: row.last_seen_at_ms,
    expiresAtMs: required(row.expires_at_ms, 'expires_at'),
    outcome: outcomes[status],
    endedAtMs: row.ended_at_ms,
    isKnown: row.is_known,
  };
}

/** The state that is stored; that of a queue nobody has used is empty. */
export function stateOf({ queue, requests, nowMs }: StoredMergeQueue): MergeQueueState {
  if (queue === null) return emptyState(nowMs);
  const pending: PendingRequest[] = [];
  const remembered: RememberedRequest[] = [];
  let grant: Grant | null = null;
  for (const row of requests) {
    const { status } = row;
    if (status === 'pending') pending.push(pendingOf(row));
    else if (isGrantStatus(status)) grant = grantOf(row, status);
    else
      remembered.push({
        requestId: row.request_id,
        headSha: row.head_sha,
        headRef: row.head_ref,
        priority: row.priority,
        completedAtMs: required(row.ended_at_ms, 'ended_at'),
      });
  }
  return { windowStartedAtMs: queue.window_started_at_ms, pending, grant, remembered };
}

/**
 * How long after a failover somebody may believe in a lease that it lost, or in a renewal of one: as long as a holder may be
 * silent here. Undefined: nothing was lost. What nobody knows is a longer hold_ttl_ms that was first said in what was lost.
 */
export function quarantineEndMs(
  { failoverAtMs, requests }: StoredMergeQueue,
  settings: MergeQueueSettings,
): number | undefined {
  if (failoverAtMs === null) return undefined;
  const holds = requests.map((row) =>
    Math.max(holdTtlMsOf({ holdTtlMs: row.hold_ttl_ms }, settings), (row.expires_at_ms ?? 0) - row.last_seen_at_ms),
  );
  return failoverAtMs + Math.max(holdTtlMsOf({ holdTtlMs: null }, settings), ...holds);
}

const noGrant = { fencing_token: null, acquired_at_ms: null, expires_at_ms: null, ended_at_ms: null } as const;

function rowsOf({ pending, grant, remembered }: MergeQueueState): StoredRequest[] {
  const rows: StoredRequest[] = pending.map((request) => ({
    head_sha: request.headSha,
    head_ref: request.headRef,
    priority: request.priority,
    status: 'pending',
    request_id: request.requestId,
    hold_ttl_ms: request.holdTtlMs,
    registered_at_ms: request.registeredAtMs,
    last_seen_at_ms: request.lastSeenAtMs,
    delays_counted: request.delaysCounted,
    ...noGrant,
    is_known: true,
  }));
  if (grant !== null)
    rows.push({
      head_sha: grant.headSha,
      head_ref: grant.headRef,
      priority: grant.priority,
      status: statusOf(grant),
      request_id: grant.requestId,
      hold_ttl_ms: grant.holdTtlMs,
      registered_at_ms: grant.registeredAtMs,
      last_seen_at_ms: grant.lastSeenAtMs,
      delays_counted: 0,
      fencing_token: grant.fencingToken,
      acquired_at_ms: grant.acquiredAtMs,
      expires_at_ms: grant.expiresAtMs,
      ended_at_ms: grant.endedAtMs,
      is_known: grant.isKnown,
    });
  for (const missed of remembered)
    rows.push({
      head_sha: missed.headSha,
      head_ref: missed.headRef,
      priority: missed.priority,
      status: 'remembered',
      request_id: missed.requestId,
      hold_ttl_ms: null,
      registered_at_ms: null,
      last_seen_at_ms: missed.completedAtMs,
      delays_counted: 0,
      ...noGrant,
      ended_at_ms: missed.completedAtMs,
      is_known: false,
    });
  return rows;
}

/** The rows of a state, and when the reaper has to look at it. */
export function changeOf(
  { owner, repo, baseRef }: MergeQueueId,
  state: MergeQueueState,
  settings: MergeQueueSettings,
  fencingToken: number,
): Omit<MergeQueueChange, 'events' | 'ended' | 'has_news'> {
  return {
    owner,
    repo,
    base_ref: baseRef,
    settings,
    window_started_at_ms: state.windowStartedAtMs,
    fencing_token: fencingToken,
    due_at_ms: dueAtMs(state, settings),
    requests: rowsOf(state),
  };
}
