-- Makes a merge queue or changes its settings; live at once: what is being decided on the old ones is decided again. What
-- p_settings does not name keeps its value; where nobody has configured the queue yet, that of p_defaults. p_if_version: the settings_version the
-- caller last saw, null = whatever it is, 0 = only if there is no such queue. Returns the new settings_version; null =
-- version_mismatch. Settings that are as asked for already change nothing, but the queue counts as configured then.
create or replace function signalbox_v1.configure_merge_queue(
  p_queue text, p_owner text, p_repo text, p_base_ref text, p_settings jsonb, p_defaults jsonb,
  p_if_version bigint default null, p_actor text default null
) returns bigint
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '2s'
as $$
declare
  v_old signalbox.merge_queues;
  v_new signalbox.merge_queues;
  v_is_new boolean := false;
begin
  perform signalbox.require_read_committed();
  if p_if_version is null or p_if_version = 0 then
    insert into signalbox.merge_queues (queue, owner, repo, base_ref, stabilisation_ms, ttl_ms, expected_count, delay_count,
      settings_version, version, window_started_at, used_at, created_at, updated_at)
    values (p_queue, p_owner, p_repo, p_base_ref, (p_defaults ->> 'stabilisation_ms')::bigint,
      (p_defaults ->> 'ttl_ms')::bigint, (p_defaults ->> 'expected_count')::integer,
      (p_defaults ->> 'delay_count')::integer, 0, signalbox.token_floor(), signalbox.clock(), signalbox.clock(),
      signalbox.clock(), signalbox.clock())
    on conflict (queue) do nothing;
    v_is_new := found;
  end if;
  perform 1 from signalbox.merge_queues q where q.queue = p_queue for no key update;
  select * into v_old from signalbox.merge_queues q where q.queue = p_queue;
  if v_old.queue is null or (p_if_version is not null and v_old.settings_version <> p_if_version) then
    return null;
  end if;
  -- Only settings: whatever else the document names is left alone.
  -- What nobody configured follows the caller's defaults, whatever was written with it last.
  v_new := jsonb_populate_record(v_old, (
    select coalesce(jsonb_object_agg(s.key, s.value), '{}')
    from jsonb_each(case when v_old.auto_created then p_defaults || p_settings else p_settings end) s
    where s.key in ('stabilisation_ms', 'ttl_ms', 'expected_count', 'delay_count', 'hold_ttl_ms', 'success_completes',
      'require_token', 'refused_acquire_updates')));
  v_new.auto_created := false;
  if v_new = v_old and not v_is_new then
    return v_old.settings_version;
  end if;
  -- due_at = now: the reaper works out anew when it has to look.
  update signalbox.merge_queues q
    set stabilisation_ms = v_new.stabilisation_ms, ttl_ms = v_new.ttl_ms, expected_count = v_new.expected_count,
        delay_count = v_new.delay_count, hold_ttl_ms = v_new.hold_ttl_ms, success_completes = v_new.success_completes,
        require_token = v_new.require_token, refused_acquire_updates = v_new.refused_acquire_updates,
        auto_created = false, settings_version = v_old.settings_version + 1, version = greatest(q.version + 1, signalbox.token_floor()), news = q.news + 1,
        due_at = signalbox.clock(), updated_at = signalbox.clock()
    where q.queue = p_queue;
  perform signalbox.record_event('merge_queue.changed', p_queue, null,
    jsonb_build_object('settings', p_settings, 'version', v_old.settings_version + 1, 'actor', p_actor));
  return v_old.settings_version + 1;
end $$;
