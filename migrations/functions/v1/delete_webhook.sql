-- Deletes a webhook; what is on its way to it is not called back. Codes: deleted, webhook_not_found, version_mismatch.
create or replace function signalbox_v1.delete_webhook(
  p_name text, p_if_version bigint default null, p_actor text default null
) returns setof signalbox_v1.decision
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '2s'
as $$
declare
  v_version bigint;
begin
  perform signalbox.require_read_committed();
  select w.version into v_version from signalbox.webhooks w where w.name = p_name for update;
  if not found then
    return next (0, 'webhook_not_found', p_name, null, null)::signalbox_v1.decision;
    return;
  end if;
  if p_if_version is not null and p_if_version <> v_version then
    return next (0, 'version_mismatch', p_name, null,
      jsonb_build_object('version', v_version))::signalbox_v1.decision;
    return;
  end if;
  delete from signalbox.webhooks w where w.name = p_name;
  perform signalbox.record_event('webhook.deleted', null, null,
    jsonb_build_object('webhook', p_name, 'version', v_version, 'actor', p_actor));
  return next (0, 'deleted', p_name, null, null)::signalbox_v1.decision;
end $$;
