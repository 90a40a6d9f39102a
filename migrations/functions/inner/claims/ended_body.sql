create or replace function signalbox.ended_body(
  p_queue text, p_claim_id text, p_holder text, p_state text, p_reason text, p_outcome text, p_slot integer,
  p_token bigint, p_priority integer, p_mode text, p_labels jsonb, p_metadata jsonb, p_enqueued_at timestamptz,
  p_acquired_at timestamptz, p_ended_at timestamptz, p_actor text, p_detail text, p_kind text, p_attempt integer,
  p_error text, p_joint jsonb default null
) returns jsonb
language sql stable
as $$
  select jsonb_build_object(
    'claim_id', p_claim_id, 'queue', p_queue, 'kind', p_kind, 'attempt', coalesce(p_attempt, 0),
    'state', p_state, 'reason', p_reason, 'outcome', p_outcome,
    'holder', p_holder, 'fencing_token', p_token, 'slot', p_slot, 'priority', p_priority, 'mode', p_mode,
    'labels', p_labels, 'metadata', p_metadata, 'enqueued_at', signalbox.rfc3339(p_enqueued_at),
    'acquired_at', signalbox.rfc3339(p_acquired_at), 'ended_at', signalbox.rfc3339(p_ended_at),
    'actor', p_actor, 'detail', p_detail, 'error', p_error)
    || signalbox.joint_body(p_joint, p_queue)
$$;
