import type { AcquireOperation, Decision } from './decisions.ts';

/** What the database alone knows of a new lease (signalbox.grant_body). */
interface GrantBody {
  readonly slot: number;
  readonly fencing_token: number;
  readonly ttl_ms: number;
  /** From the grant on. */
  readonly ttl_remaining_ms: number;
  readonly granted_at: string;
}

/** A time of the database (RFC 3339, microseconds, UTC) and whole milliseconds. */
function later(at: string, ms: number): string {
  const wholeMsLength = '2026-01-01T00:00:00.000'.length;
  const sum = new Date(Date.parse(`${at.slice(0, wholeMsLength)}Z`) + ms).toISOString();
  return sum.slice(0, wholeMsLength) + at.slice(wholeMsLength);
}

/**
 * A new claim that got a place at once (`granted`), as what it is from now on: `held`, with the whole lease. The database
 * does not repeat what it was just told; its answers to those who ask again have the same members (signalbox.lease_body).
 */
export function heldDecision(operation: AcquireOperation, decision: Decision): Decision {
  const { slot, fencing_token, ttl_ms, ttl_remaining_ms, granted_at } = decision.body as unknown as GrantBody;
  const { claim_id, queue, holder } = operation;
  const body = {
    claim_id,
    queue,
    kind: 'claim',
    attempt: 1,
    state: 'held',
    holder,
    fencing_token,
    slot,
    ttl_ms,
    ttl_remaining_ms,
    renew_after_ms: Math.floor(ttl_remaining_ms / 3),
    priority: operation.priority ?? 0,
    mode: operation.mode ?? 'wait',
    labels: operation.labels ?? {},
    metadata: operation.metadata ?? {},
    release_requested: false,
    enqueued_at: granted_at,
    acquired_at: granted_at,
    renewed_at: granted_at,
    expires_at: later(granted_at, ttl_remaining_ms),
  };
  return { item: decision.item, code: 'held', queue, claim_id, body };
}
