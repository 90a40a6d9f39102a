-- Makes a pattern or replaces its settings; its queues get them by inherit_settings, call that next. p_settings is the whole
-- document: what it leaves out the pattern does not set. p_if_version: the version the caller last saw, null = whatever it
-- is, 0 = only if there is none. Codes: configured (body: version), unchanged (it is so already), version_mismatch,
-- invalid_settings.
create or replace function signalbox_v1.set_pattern(
  p_pattern text, p_settings jsonb, p_if_version bigint default null, p_actor text default null
) returns setof signalbox_v1.decision
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '2s'
as $$
declare
  v_old signalbox.queue_patterns;
  v_settings jsonb;
  v_whole jsonb;
  v_version bigint;
begin
  perform signalbox.require_read_committed();
  perform signalbox.lock_patterns(true);
  select * into v_old from signalbox.queue_patterns p where p.pattern = p_pattern;
  v_version := case when v_old.settings is null then 0 else v_old.version end;
  if p_if_version is not null and p_if_version <> v_version then
    return next (0, 'version_mismatch', p_pattern, null,
      jsonb_build_object('version', nullif(v_version, 0)))::signalbox_v1.decision;
    return;
  end if;
  select coalesce(jsonb_object_agg(s.key, s.value), '{}') into v_settings from jsonb_each(p_settings) s
    where signalbox.default_settings() ? s.key;
  if v_old.settings = v_settings then
    return next (0, 'unchanged', p_pattern, null, jsonb_build_object('version', v_version))::signalbox_v1.decision;
    return;
  end if;
  v_whole := signalbox.default_settings() || v_settings;
  if (v_whole -> 'default_ttl_ms')::bigint > (v_whole -> 'max_ttl_ms')::bigint then
    return next (0, 'invalid_settings', p_pattern, null, jsonb_build_object('detail',
      format('default_ttl_ms %s is longer than max_ttl_ms %s', v_whole -> 'default_ttl_ms',
        v_whole -> 'max_ttl_ms')))::signalbox_v1.decision;
    return;
  end if;
  -- Each queue that is made looks through all of them.
  if v_version = 0 and (select count(*) from signalbox.queue_patterns p where p.settings is not null) >= 1000 then
    return next (0, 'invalid_settings', p_pattern, null,
      jsonb_build_object('detail', 'there are 1000 patterns already, which is the most there may be'))::signalbox_v1.decision;
    return;
  end if;
  insert into signalbox.queue_patterns as p (pattern, settings, version, created_at, updated_at, updated_by)
    values (p_pattern, v_settings, nextval('signalbox.pattern_versions'), signalbox.clock(), signalbox.clock(), p_actor)
    on conflict (pattern) do update
      set settings = excluded.settings, version = excluded.version, updated_at = excluded.updated_at,
          updated_by = excluded.updated_by,
          created_at = case when p.settings is null then excluded.created_at else p.created_at end
    returning p.version into v_version;
  perform signalbox.record_event('pattern.changed', p_pattern, null,
    jsonb_build_object('settings', v_settings, 'version', v_version, 'actor', p_actor));
  return next (0, 'configured', p_pattern, null, jsonb_build_object('version', v_version))::signalbox_v1.decision;
end $$;
