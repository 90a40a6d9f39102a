-- What whoever asked for a new claim does not know of its lease yet; the rest is as it was asked for. (The whole lease,
-- lease_body, costs more than everything else of a grant but the row itself.) ttl_remaining_ms counts from the grant.
create or replace function signalbox.grant_body(
  p_slot integer, p_token bigint, p_ttl_ms integer, p_granted_at timestamptz, p_expires_at timestamptz
) returns jsonb
language sql stable
as $$
  select jsonb_build_object('slot', p_slot, 'fencing_token', p_token, 'ttl_ms', p_ttl_ms,
    'ttl_remaining_ms', signalbox.ms_until(p_expires_at, p_granted_at),
    'granted_at', signalbox.rfc3339(p_granted_at), 'expires_at', signalbox.rfc3339(p_expires_at))
$$;
