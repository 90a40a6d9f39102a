create or replace function signalbox.ended_lease_body(p_lease signalbox.leases) returns jsonb
language sql stable
as $$
  select signalbox.ended_body(p_lease.queue, p_lease.claim_id, p_lease.holder, p_lease.end_state, p_lease.end_reason,
    p_lease.outcome, p_lease.slot, p_lease.fencing_token, p_lease.priority, p_lease.mode, p_lease.labels,
    p_lease.metadata, p_lease.enqueued_at, p_lease.acquired_at, p_lease.ended_at, null, null, p_lease.kind,
    p_lease.attempt, null, p_lease.joint)
$$;
