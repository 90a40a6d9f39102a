create or replace function signalbox.waiting_body(p_claim signalbox.waiting) returns jsonb
language sql stable
as $$
  select jsonb_build_object(
    'claim_id', p_claim.claim_id, 'queue', p_claim.queue, 'state', 'waiting', 'holder', p_claim.holder,
    'ttl_ms', p_claim.ttl_ms, 'priority', p_claim.priority, 'mode', p_claim.mode, 'labels', p_claim.labels,
    'metadata', p_claim.metadata, 'enqueued_at', signalbox.rfc3339(p_claim.enqueued_at))
$$;
