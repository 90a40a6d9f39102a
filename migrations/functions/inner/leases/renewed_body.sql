-- What whoever renewed a lease does not know of it yet (the whole lease, lease_body, costs more than the renewal).
-- ttl_remaining_ms counts from the renewal.
create or replace function signalbox.renewed_body(
  p_token bigint, p_slot integer, p_release_requested boolean, p_renewed_at timestamptz, p_expires_at timestamptz
) returns jsonb
language sql stable
as $$
  select jsonb_build_object('fencing_token', p_token, 'slot', p_slot, 'release_requested', p_release_requested,
    'ttl_remaining_ms', signalbox.ms_until(p_expires_at, p_renewed_at), 'expires_at', signalbox.rfc3339(p_expires_at))
$$;
