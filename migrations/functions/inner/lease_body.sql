-- A lease in the words of the contract. A held row whose time ran out shows as expired at once.
create or replace function signalbox.lease_body(p_lease signalbox.leases) returns jsonb
language sql volatile
as $$
  select jsonb_build_object(
    'claim_id', p_lease.claim_id, 'queue', p_lease.queue, 'state', 'held', 'holder', p_lease.holder,
    'fencing_token', p_lease.fencing_token, 'slot', p_lease.slot, 'ttl_ms', p_lease.ttl_ms,
    'ttl_remaining_ms', signalbox.ms_until(p_lease.expires_at, n.now),
    'renew_after_ms', signalbox.ms_until(p_lease.expires_at, n.now) / 3,
    'priority', p_lease.priority, 'mode', p_lease.mode, 'labels', p_lease.labels, 'metadata', p_lease.metadata,
    'offered', p_lease.offered, 'release_requested', p_lease.release_requested,
    'enqueued_at', signalbox.rfc3339(p_lease.enqueued_at), 'acquired_at', signalbox.rfc3339(p_lease.acquired_at),
    'renewed_at', signalbox.rfc3339(p_lease.renewed_at), 'expires_at', signalbox.rfc3339(p_lease.expires_at))
    || case when p_lease.expires_at > n.now then '{}' else jsonb_build_object('state', 'expired', 'reason',
         case when p_lease.hold_until <= p_lease.expires_at then 'max_hold' else 'expired' end) end
  from (select signalbox.clock() as now) n
$$;
