-- What an attempt of the leader at a webhook came to. p_change: cursor {xid, id, at} = it is done with all up to there;
-- attempt {status, error} if one was made, error null = delivered; retry_after_ms: no attempt before; gone: the receiver
-- wants no more, which turns the webhook off. False, and nothing is written, if the webhook is not at p_version: it was
-- changed or deleted meanwhile, and whoever goes on with it begins at the cursor.
create or replace function signalbox_v1.record_delivery(
  p_leader text, p_epoch bigint, p_name text, p_version bigint, p_change jsonb
) returns boolean
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '250ms'
as $$
declare
  v_now timestamptz := signalbox.clock();
  v_cursor jsonb := p_change -> 'cursor';
  v_attempt jsonb := p_change -> 'attempt';
  v_gone boolean := coalesce((p_change -> 'gone')::boolean, false);
  v_old signalbox.webhooks;
begin
  perform signalbox.require_term(p_leader, p_epoch);
  select * into v_old from signalbox.webhooks w where w.name = p_name and w.version = p_version for no key update;
  if not found then
    return false;
  end if;
  update signalbox.webhooks w set
    cursor_xid = coalesce((v_cursor ->> 'xid')::xid8, w.cursor_xid),
    cursor_id = coalesce((v_cursor ->> 'id')::bigint, w.cursor_id),
    cursor_at = coalesce((v_cursor ->> 'at')::timestamptz, w.cursor_at),
    -- History goes by whole days, oldest first: while anything at or before the cursor is there, so is all behind it.
    may_have_lost_at = case when v_cursor is not null and w.cursor_xid > '0' and w.cursor_at < v_now - interval '1 day'
        and not exists (select from signalbox.events e where (e.xid, e.id) <= (w.cursor_xid, w.cursor_id))
      then v_now else w.may_have_lost_at end,
    failures = case when v_attempt is null then w.failures when v_attempt ->> 'error' is null then 0
      else w.failures + 1 end,
    last_attempt_at = case when v_attempt is null then w.last_attempt_at else v_now end,
    last_status = case when v_attempt is null then w.last_status else (v_attempt ->> 'status')::integer end,
    last_error = case when v_attempt is null then w.last_error else v_attempt ->> 'error' end,
    delivered_at = case when v_attempt is not null and v_attempt ->> 'error' is null then v_now else w.delivered_at end,
    next_attempt_at = case when v_attempt is null then w.next_attempt_at
      else v_now + signalbox.ms((p_change ->> 'retry_after_ms')::bigint) end,
    enabled = w.enabled and not v_gone,
    version = case when v_gone then nextval('signalbox.webhook_versions') else w.version end
  where w.name = p_name;
  if v_gone then
    perform signalbox.record_event('webhook.disabled', null, null, jsonb_build_object('webhook', p_name,
      'target', substring(v_old.url from '^https?://[^/?#]+'), 'reason', 'gone', 'status', v_attempt -> 'status'));
  end if;
  return true;
end $$;
