-- Ends a token for ever; its row stays. Returns revoked, already_revoked or token_not_found.
create or replace function signalbox_v1.revoke_token(p_token_id text, p_actor text default null) returns text
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '2s'
as $$
declare
  v_token signalbox.tokens;
begin
  perform signalbox.require_read_committed();
  perform 1 from signalbox.tokens t where t.token_id = p_token_id for no key update;
  select * into v_token from signalbox.tokens t where t.token_id = p_token_id;
  if v_token.token_id is null then
    return 'token_not_found';
  end if;
  if v_token.revoked_at is not null then
    return 'already_revoked';
  end if;
  update signalbox.tokens t set revoked_at = signalbox.clock() where t.token_id = p_token_id;
  perform signalbox.record_event('token.revoked', null, null,
    jsonb_strip_nulls(jsonb_build_object('token_id', p_token_id, 'actor', p_actor)));
  perform pg_notify('signalbox', jsonb_build_object('from', 'tokens', 'tokens_changed', true)::text);
  return 'revoked';
end $$;
