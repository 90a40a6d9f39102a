-- Changes settings; what p_settings does not name keeps its value; null where a setting may be null. Live at once: a
-- raised limit grants in the same commit (at most 100; call advance for more), a lowered one lets holders finish.
-- p_if_version: the version the caller last saw, null = whatever it is. Codes: configured, version_mismatch,
-- invalid_settings, line_busy (deleted meanwhile: try again).
create or replace function signalbox_v1.configure(
  p_queue text, p_settings jsonb, p_if_version bigint default null, p_actor text default null
) returns setof signalbox_v1.decision
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '2s'
as $$
declare
  v_line signalbox.lines;
  v_settings signalbox.queues;
  v_new_line signalbox.lines;
  v_new_settings signalbox.queues;
begin
  perform signalbox.require_read_committed();
  if p_if_version is null then
    -- One statement, see ensure_queues.
    with made as (
      insert into signalbox.queues (queue, created_at, updated_at)
        values (p_queue, signalbox.clock(), signalbox.clock()) on conflict (queue) do nothing returning queue)
    insert into signalbox.lines (queue) select m.queue from made m on conflict (queue) do nothing;
  end if;
  perform 1 from signalbox.lines n where n.queue = p_queue for no key update;
  select * into v_line from signalbox.lines n where n.queue = p_queue;
  select * into v_settings from signalbox.queues q where q.queue = p_queue;
  if p_if_version is not null and p_if_version is distinct from v_settings.version then
    return next (0, 'version_mismatch', p_queue, null,
      jsonb_build_object('version', v_settings.version))::signalbox_v1.decision;
    return;
  end if;
  if v_line.queue is null or v_settings.queue is null then
    -- Deleted between the insert and the lock: nothing is there to configure; the caller tries again.
    return next (0, 'line_busy', p_queue, null, null)::signalbox_v1.decision;
    return;
  end if;
  v_new_line := jsonb_populate_record(v_line, (
    select coalesce(jsonb_object_agg(s.key, s.value), '{}') from jsonb_each(p_settings) s
    where s.key in ('concurrency_limit', 'paused')));
  v_new_settings := jsonb_populate_record(v_settings, (
    select coalesce(jsonb_object_agg(s.key, s.value), '{}') from jsonb_each(p_settings) s
    where s.key in ('default_ttl_ms', 'max_ttl_ms', 'waiting_ttl_ms', 'max_waiting', 'max_hold_ms', 'lock_delay_ms',
      'claim_memory_ms', 'max_runs', 'max_attempts', 'max_age_ms', 'retry_delay_ms', 'retry_delay_max_ms', 'on_failure')));
  if v_new_settings.default_ttl_ms > v_new_settings.max_ttl_ms then
    return next (0, 'invalid_settings', p_queue, null, jsonb_build_object('detail',
      format('default_ttl_ms %s is longer than max_ttl_ms %s', v_new_settings.default_ttl_ms,
        v_new_settings.max_ttl_ms)))::signalbox_v1.decision;
    return;
  end if;
  if (v_new_line.concurrency_limit is null or v_new_line.concurrency_limit > 256) and not v_line.wide then
    perform signalbox.make_wide(p_queue);
  end if;
  update signalbox.lines n set concurrency_limit = v_new_line.concurrency_limit, paused = v_new_line.paused
    where n.queue = p_queue;
  update signalbox.queues q
    set version = q.version + 1, auto_created = false, updated_at = signalbox.clock(),
        default_ttl_ms = v_new_settings.default_ttl_ms, max_ttl_ms = v_new_settings.max_ttl_ms,
        waiting_ttl_ms = v_new_settings.waiting_ttl_ms, max_waiting = v_new_settings.max_waiting,
        max_hold_ms = v_new_settings.max_hold_ms, lock_delay_ms = v_new_settings.lock_delay_ms,
        claim_memory_ms = v_new_settings.claim_memory_ms, max_runs = v_new_settings.max_runs,
        max_attempts = v_new_settings.max_attempts, max_age_ms = v_new_settings.max_age_ms,
        retry_delay_ms = v_new_settings.retry_delay_ms, retry_delay_max_ms = v_new_settings.retry_delay_max_ms,
        on_failure = v_new_settings.on_failure
    where q.queue = p_queue;
  perform signalbox.lift_blocks(p_queue, signalbox.failure_policy(v_new_line.concurrency_limit, v_new_settings.on_failure));
  perform signalbox.record_event('queue.changed', p_queue, null,
    jsonb_build_object('settings', p_settings, 'version', v_settings.version + 1, 'actor', p_actor));
  return next (0, 'configured', p_queue, null,
    jsonb_build_object('version', v_settings.version + 1))::signalbox_v1.decision;
  return query select * from signalbox.advance_line(p_queue);
end $$;
