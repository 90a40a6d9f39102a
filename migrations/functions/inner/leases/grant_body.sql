-- What whoever asked for a new claim does not know of its lease yet; the rest is as it was asked for, and expires_at is
-- granted_at and ttl_remaining_ms. (The whole lease, lease_body, costs more than all else of a grant but its row.)
create or replace function signalbox.grant_body(
  p_slot integer, p_token bigint, p_ttl_ms integer, p_ttl_remaining_ms bigint, p_granted_at text
) returns jsonb
language sql stable
as $$
  select jsonb_build_object('slot', p_slot, 'fencing_token', p_token, 'ttl_ms', p_ttl_ms,
    'ttl_remaining_ms', p_ttl_remaining_ms, 'granted_at', p_granted_at)
$$;
