-- Writes settings under the line's lock; the caller lets the line advance. p_settings may leave out what stays.
create or replace function signalbox.write_settings(
  p_queue text, p_settings jsonb, p_own text[], p_auto_created boolean
) returns void
language plpgsql
as $$
declare
  v_line signalbox.lines;
  v_new_line signalbox.lines;
  v_old signalbox.queues;
  v_new signalbox.queues;
begin
  -- Noted before it is written down what was changed after it.
  perform signalbox.failover_at();
  select * into v_line from signalbox.lines n where n.queue = p_queue;
  select * into v_old from signalbox.queues q where q.queue = p_queue;
  v_new_line := jsonb_populate_record(v_line, (
    select coalesce(jsonb_object_agg(s.key, s.value), '{}') from jsonb_each(p_settings) s
    where s.key in ('concurrency_limit', 'paused', 'closed', 'cleanup')));
  v_new := jsonb_populate_record(v_old, (
    select coalesce(jsonb_object_agg(s.key, s.value), '{}') from jsonb_each(p_settings) s
    where s.key not in ('concurrency_limit', 'paused', 'closed', 'cleanup') and signalbox.default_settings() ? s.key));
  if (v_new_line.concurrency_limit is null or v_new_line.concurrency_limit > 256) and not v_line.wide then
    perform signalbox.make_wide(p_queue);
  end if;
  update signalbox.lines n
    set concurrency_limit = v_new_line.concurrency_limit, paused = v_new_line.paused, closed = v_new_line.closed,
        cleanup = v_new_line.cleanup
    where n.queue = p_queue;
  if v_line.cleanup and not v_new_line.cleanup then
    perform signalbox.free_dirty_slots(p_queue);
  end if;
  -- (While a queue rotates, a head start says nothing.)
  if v_new.rotate_by is distinct from v_old.rotate_by or v_new.rotate_by is null
    and v_new.priority_head_start_ms is distinct from v_old.priority_head_start_ms then
    perform signalbox.begin_order(p_queue, v_new.rotate_by);
  end if;
  update signalbox.queues q
    set version = q.version + 1, auto_created = p_auto_created, updated_at = signalbox.clock(), own_settings = p_own,
        default_ttl_ms = v_new.default_ttl_ms, max_ttl_ms = v_new.max_ttl_ms, waiting_ttl_ms = v_new.waiting_ttl_ms,
        max_waiting = v_new.max_waiting, max_hold_ms = v_new.max_hold_ms, lock_delay_ms = v_new.lock_delay_ms,
        claim_memory_ms = v_new.claim_memory_ms, max_runs = v_new.max_runs, max_attempts = v_new.max_attempts,
        max_age_ms = v_new.max_age_ms, retry_delay_ms = v_new.retry_delay_ms,
        retry_delay_max_ms = v_new.retry_delay_max_ms, on_failure = v_new.on_failure,
        priority_head_start_ms = v_new.priority_head_start_ms, rotate_by = v_new.rotate_by,
        retry_place = v_new.retry_place, supersede_by = v_new.supersede_by,
        cancel_in_progress = v_new.cancel_in_progress, on_full = v_new.on_full, max_wait_ms = v_new.max_wait_ms,
        reserve_max_ms = v_new.reserve_max_ms, on_failover = v_new.on_failover,
        longest_ttl_ms = case when v_new.max_ttl_ms < v_old.max_ttl_ms
          then greatest(v_old.longest_ttl_ms, v_old.max_ttl_ms) else v_old.longest_ttl_ms end,
        ttl_lowered_at = case when v_new.max_ttl_ms < v_old.max_ttl_ms then signalbox.clock() else v_old.ttl_lowered_at end
    where q.queue = p_queue;
  perform signalbox.lift_blocks(p_queue, signalbox.failure_policy(v_new_line.concurrency_limit, v_new.on_failure));
end $$;
