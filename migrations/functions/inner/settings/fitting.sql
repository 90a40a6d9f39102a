-- The document with a default_ttl_ms that is not longer than its max_ttl_ms. Of the two the one that is not firm gives way;
-- if both are firm, the contradiction stays and the caller refuses it.
create or replace function signalbox.fitting(p_settings jsonb, p_firm text[]) returns jsonb
language sql immutable
as $$
  select case
    when (p_settings -> 'default_ttl_ms')::bigint <= (p_settings -> 'max_ttl_ms')::bigint then p_settings
    when 'default_ttl_ms' <> all(p_firm) then p_settings || jsonb_build_object('default_ttl_ms', p_settings -> 'max_ttl_ms')
    when 'max_ttl_ms' <> all(p_firm) then p_settings || jsonb_build_object('max_ttl_ms', p_settings -> 'default_ttl_ms')
    else p_settings
  end
$$;
