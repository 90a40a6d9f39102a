-- A claim or run that waits, in the words of the contract, without its place.
create or replace function signalbox.waiting_body(p_claim signalbox.delayed) returns jsonb
language sql stable
as $$
  select jsonb_build_object(
    'claim_id', p_claim.claim_id, 'queue', p_claim.queue, 'kind', p_claim.kind, 'attempt', p_claim.attempts,
    'state', case when p_claim.due_at is null then 'waiting' else 'delayed' end, 'holder', p_claim.holder,
    'ttl_ms', p_claim.ttl_ms, 'priority', p_claim.priority, 'mode', p_claim.mode, 'labels', p_claim.labels,
    'metadata', p_claim.metadata, 'enqueued_at', signalbox.rfc3339(p_claim.enqueued_at),
    'due_at', signalbox.rfc3339(p_claim.due_at)) || signalbox.joint_body(p_claim.joint, p_claim.queue)
    || case when p_claim.weight > 1 then jsonb_build_object('weight', p_claim.weight) else '{}' end
$$;
