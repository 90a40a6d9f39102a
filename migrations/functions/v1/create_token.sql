-- Writes a token made by the caller, who alone knows its secret; p_lifetime_ms null = it never expires. Returns when it
-- expires. The first one ever turns authentication on in every replica.
create or replace function signalbox_v1.create_token(
  p_token_id text, p_token_hash bytea, p_name text, p_scope text, p_queue_prefix text, p_lifetime_ms bigint,
  p_created_by text
) returns timestamptz
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '2s'
as $$
declare
  v_now timestamptz := signalbox.clock();
  v_expires_at timestamptz := v_now + signalbox.ms(p_lifetime_ms);
begin
  perform signalbox.require_read_committed();
  insert into signalbox.tokens (token_id, name, token_hash, scope, queue_prefix, created_at, created_by, expires_at)
    values (p_token_id, p_name, p_token_hash, p_scope, p_queue_prefix, v_now, p_created_by, v_expires_at);
  -- The feed is read by more people than may know who is allowed what: that is in the view `tokens`.
  perform signalbox.record_event('token.created', null, null,
    jsonb_build_object('token_id', p_token_id, 'actor', p_created_by));
  -- A hint for the replicas, in this commit: they read the table again.
  perform pg_notify('signalbox', jsonb_build_object('from', 'tokens', 'tokens_changed', true)::text);
  return v_expires_at;
end $$;
