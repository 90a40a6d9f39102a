-- Makes a webhook, which begins at the end of the feed, or replaces its settings: p_settings is the whole document. Without a
-- secret in it the old one stays; a new webhook then gets p_new_secret. Whatever changes, its next attempt comes at once.
-- p_if_version: the version the caller last saw, null = whatever it is. Codes: configured (body: version, secret_made: it has
-- p_new_secret), unchanged, version_mismatch, invalid_settings.
create or replace function signalbox_v1.set_webhook(
  p_name text, p_settings jsonb, p_new_secret text, p_if_version bigint default null, p_actor text default null
) returns setof signalbox_v1.decision
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '2s'
as $$
declare
  v_old signalbox.webhooks;
  v_new signalbox.webhooks;
  v_now timestamptz := signalbox.clock();
begin
  perform signalbox.require_read_committed();
  perform pg_advisory_xact_lock(hashtext('signalbox'), hashtext('webhooks'));
  select * into v_old from signalbox.webhooks w where w.name = p_name for no key update;
  if p_if_version is not null and p_if_version <> coalesce(v_old.version, 0) then
    return next (0, 'version_mismatch', p_name, null,
      jsonb_build_object('version', v_old.version))::signalbox_v1.decision;
    return;
  end if;
  if v_old.name is null and (select count(*) from signalbox.webhooks) >= 100 then
    return next (0, 'invalid_settings', p_name, null, jsonb_build_object('detail',
      'there are 100 webhooks already, which is the most there may be'))::signalbox_v1.decision;
    return;
  end if;
  v_new := jsonb_populate_record(v_old, p_settings - 'types');
  v_new.secret := coalesce(p_settings ->> 'secret', v_old.secret, p_new_secret);
  v_new.types := case when jsonb_typeof(p_settings -> 'types') = 'array'
    then array(select jsonb_array_elements_text(p_settings -> 'types')) end;
  if v_new is not distinct from v_old then
    return next (0, 'unchanged', p_name, null, jsonb_build_object('version', v_old.version))::signalbox_v1.decision;
    return;
  end if;
  v_new.version := nextval('signalbox.webhook_versions');
  insert into signalbox.webhooks as w (name, url, secret, queue_prefix, types, labels, enabled, allow_http, cursor_xid,
      cursor_id, cursor_at, version, created_at, updated_at, updated_by)
    select p_name, v_new.url, v_new.secret, v_new.queue_prefix, v_new.types, v_new.labels, v_new.enabled, v_new.allow_http,
      coalesce(e.xid, '0'), coalesce(e.id, 0), v_now, v_new.version, v_now, v_now, p_actor
    from (values (1)) one left join (
      select e.xid, e.id from signalbox.events e
      where e.xid < (select signalbox.feed_horizon()) order by e.xid desc, e.id desc limit 1) e on true
    on conflict (name) do update set
      url = excluded.url, secret = excluded.secret, queue_prefix = excluded.queue_prefix, types = excluded.types,
      labels = excluded.labels, enabled = excluded.enabled, allow_http = excluded.allow_http, failures = 0, next_attempt_at = null,
      version = excluded.version, updated_at = excluded.updated_at, updated_by = excluded.updated_by;
  perform signalbox.record_event('webhook.changed', null, null, jsonb_build_object('webhook', p_name,
    'target', substring(v_new.url from '^https?://[^/?#]+'), 'queue_prefix', v_new.queue_prefix, 'types', v_new.types,
    -- Not under the name of a claim's labels: the feed would take it for an event of such a claim.
    'claim_labels', v_new.labels, 'enabled', v_new.enabled, 'version', v_new.version, 'actor', p_actor));
  return next (0, 'configured', p_name, null, jsonb_build_object('version', v_new.version,
    'secret_made', v_old.name is null and not p_settings ? 'secret'))::signalbox_v1.decision;
end $$;
