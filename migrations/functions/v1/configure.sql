-- Changes settings; what p_settings does not name keeps its value; null where a setting may be null. What it names is the
-- queue's own from then on; its member `inherit` lists settings that are not any more, and become what the queue's pattern or
-- else the default says. Live at once: a raised limit grants in the same commit (at most 100; call advance for more), a
-- lowered one lets holders finish. Where default_ttl_ms and max_ttl_ms contradict each other, what a pattern says gives way.
-- p_if_version: the version the caller last saw, null = whatever it is. What changes nothing keeps the version, and the feed does
-- not tell of it. Codes: configured, version_mismatch, invalid_settings, line_busy (deleted meanwhile: try again).
create or replace function signalbox_v1.configure(
  p_queue text, p_settings jsonb, p_if_version bigint default null, p_actor text default null
) returns setof signalbox_v1.decision
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '2s'
as $$
declare
  v_line signalbox.lines;
  v_queue signalbox.queues;
  v_given_back text[];
  v_own text[];
  v_pattern jsonb;
  v_settings jsonb;
  v_is_known boolean := true;   -- before this call
  v_version bigint;
begin
  perform signalbox.require_read_committed();
  if p_if_version is null then
    v_is_known := exists (select from signalbox.queues q where q.queue = p_queue);
    perform signalbox.lock_patterns(false);
    perform signalbox.make_queues(array[p_queue], false);
  end if;
  perform 1 from signalbox.lines n where n.queue = p_queue for no key update;
  select * into v_line from signalbox.lines n where n.queue = p_queue;
  select * into v_queue from signalbox.queues q where q.queue = p_queue;
  if p_if_version is not null and p_if_version is distinct from v_queue.version then
    return next (0, 'version_mismatch', p_queue, null,
      jsonb_build_object('version', v_queue.version))::signalbox_v1.decision;
    return;
  end if;
  if v_line.queue is null or v_queue.queue is null then
    -- Deleted between the insert and the lock: nothing is there to configure; the caller tries again.
    return next (0, 'line_busy', p_queue, null, null)::signalbox_v1.decision;
    return;
  end if;
  select coalesce(array_agg(g.name), '{}') into v_given_back
    from jsonb_array_elements_text(coalesce(p_settings -> 'inherit', '[]')) g(name);
  select array_agg(distinct o.name collate "C" order by o.name collate "C") into v_own
    from (select unnest(signalbox.own_settings(v_line, v_queue)) union
          select jsonb_object_keys(p_settings)) o(name)
    where signalbox.default_settings() ? o.name and (o.name <> all(v_given_back) or p_settings ? o.name);
  v_own := coalesce(v_own, '{}');
  v_pattern := signalbox.pattern_of(p_queue);
  -- What is its own as it stands, the rest as it is inherited now, and what is named.
  select signalbox.default_settings() || v_pattern
      || coalesce(jsonb_object_agg(s.key, s.value) filter (where s.key = any(v_own)), '{}') || (p_settings - 'inherit')
    into v_settings from jsonb_each(signalbox.settings_of(v_line, v_queue)) s;
  v_settings := signalbox.fitting(v_settings, array(
    select k.name from jsonb_object_keys(signalbox.default_settings()) k(name)
    where k.name = any(v_own) or not v_pattern ? k.name));
  if (v_settings -> 'default_ttl_ms')::bigint > (v_settings -> 'max_ttl_ms')::bigint then
    -- What is refused makes no queue either.
    if not v_is_known and exists (
      select from signalbox.queues q where q.queue = p_queue and q.xmin = pg_current_xact_id()::xid) then
      perform signalbox.remove_queue(p_queue);
    end if;
    return next (0, 'invalid_settings', p_queue, null, jsonb_build_object('detail',
      format('default_ttl_ms %s is longer than max_ttl_ms %s', v_settings -> 'default_ttl_ms',
        v_settings -> 'max_ttl_ms')))::signalbox_v1.decision;
    return;
  end if;
  v_version := v_queue.version;
  if not v_is_known or v_queue.auto_created or v_settings <> signalbox.settings_of(v_line, v_queue)
    or v_own is distinct from signalbox.own_settings(v_line, v_queue) then
    v_version := v_version + 1;
    perform signalbox.write_settings(p_queue, v_settings, v_own, false);
    perform signalbox.record_event('queue.changed', p_queue, null,
      jsonb_build_object('settings', p_settings, 'version', v_version, 'actor', p_actor));
  end if;
  return next (0, 'configured', p_queue, null, jsonb_build_object('version', v_version))::signalbox_v1.decision;
  return query select * from signalbox.advance_line(p_queue);
end $$;
