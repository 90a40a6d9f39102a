import { QueueName, type FencingToken } from '../protocol/ids.ts';
import type { MergeQueueDetail, MergeRequestDetail } from '../protocol/merge-queue.ts';
import type { MergeQueueRow, MergeRequestRow } from '../store/merge-queues.ts';

function numberOf(text: string | null): number | null {
  return text === null ? null : Number(text);
}

function instantOf(at: Date | null): string | null {
  return at === null ? null : at.toISOString();
}

function requestDetail(row: MergeRequestRow): MergeRequestDetail {
  return {
    head_sha: row.head_sha,
    head_ref: row.head_ref,
    priority: Number(row.priority),
    status: row.status,
    request_id: row.request_id,
    position: numberOf(row.position),
    waiting_for: row.waiting_for,
    fencing_token: numberOf(row.fencing_token) as FencingToken | null,
    registered_at: row.registered_at.toISOString(),
    last_seen_at: row.last_seen_at.toISOString(),
    acquired_at: instantOf(row.acquired_at),
    expires_at: instantOf(row.expires_at),
    ended_at: instantOf(row.ended_at),
    waited_ms: Number(row.waited_ms),
    delays_left: row.delays_left,
  };
}

/** A merge queue with its builds, in the order of the view. */
export function mergeQueueDetail(row: MergeQueueRow, requests: readonly MergeRequestRow[]): MergeQueueDetail {
  return {
    queue: QueueName.parse(row.queue),
    owner: row.owner,
    repo: row.repo,
    base_ref: row.base_ref,
    stabilisation_ms: Number(row.stabilisation_ms),
    ttl_ms: Number(row.ttl_ms),
    expected_count: row.expected_count,
    delay_count: row.delay_count,
    hold_ttl_ms: numberOf(row.hold_ttl_ms),
    success_completes: row.success_completes,
    require_token: row.require_token,
    refused_acquire_updates: row.refused_acquire_updates,
    mode: row.mode,
    window_remaining_ms: numberOf(row.window_remaining_ms),
    held_ms: numberOf(row.held_ms),
    requests: requests.map(requestDetail),
    pending: Number(row.pending),
    version: Number(row.version),
    auto_created: row.auto_created,
    created_at: row.created_at.toISOString(),
    updated_at: row.updated_at.toISOString(),
  };
}
