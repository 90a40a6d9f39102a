-- A lease in the words of the contract. A held row whose time ran out shows as expired at once. One clock reading per
-- call: remaining times and state agree.
create or replace function signalbox.lease_body(p_lease signalbox.leases) returns jsonb
language plpgsql
as $$
declare
  v_now timestamptz := signalbox.clock();
  v_remaining_ms bigint := signalbox.ms_until(p_lease.expires_at, v_now);
  v_body jsonb := jsonb_build_object(
    'claim_id', p_lease.claim_id, 'queue', p_lease.queue, 'kind', p_lease.kind, 'attempt', p_lease.attempt,
    'state', 'held', 'holder', p_lease.holder,
    'fencing_token', p_lease.fencing_token, 'slot', p_lease.slot, 'ttl_ms', p_lease.ttl_ms,
    'ttl_remaining_ms', v_remaining_ms, 'renew_after_ms', v_remaining_ms / 3,
    'priority', p_lease.priority, 'mode', p_lease.mode, 'labels', p_lease.labels, 'metadata', p_lease.metadata,
    'offered', p_lease.offered, 'release_requested', p_lease.release_requested,
    'enqueued_at', signalbox.rfc3339(p_lease.enqueued_at), 'acquired_at', signalbox.rfc3339(p_lease.acquired_at),
    'renewed_at', signalbox.rfc3339(p_lease.renewed_at), 'expires_at', signalbox.rfc3339(p_lease.expires_at));
begin
  if p_lease.joint is not null then
    v_body := v_body || signalbox.joint_body(p_lease.joint, p_lease.queue);
  end if;
  if p_lease.expires_at <= v_now then
    v_body := v_body || jsonb_build_object('state', 'expired', 'reason',
      case when p_lease.hold_until <= p_lease.expires_at then 'max_hold' else 'expired' end);
  end if;
  return v_body;
end $$;
