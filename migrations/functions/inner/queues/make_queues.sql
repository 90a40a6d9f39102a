-- Makes queues that do not exist, with what patterns and defaults give them. Call lock_patterns(false) first.
create or replace function signalbox.make_queues(p_queues text[], p_auto_created boolean) returns void
language sql
as $$
  -- A line only for settings made here: by a statement of its own it could be made for a queue that was deleted since.
  with wanted as materialized (
    select u.queue, signalbox.default_settings() || signalbox.pattern_of(u.queue) as settings
    from (select distinct u.queue collate "C" as queue from unnest(p_queues) u(queue)) u),
  made as (
    insert into signalbox.queues (queue, auto_created, created_at, updated_at, own_settings, default_ttl_ms, max_ttl_ms,
        waiting_ttl_ms, max_waiting, max_hold_ms, lock_delay_ms, claim_memory_ms, max_runs, max_attempts, max_age_ms,
        retry_delay_ms, retry_delay_max_ms, on_failure, priority_head_start_ms, rotate_by, retry_place, supersede_by,
        cancel_in_progress, on_full, max_wait_ms, reserve_max_ms, on_failover)
      select w.queue, p_auto_created, signalbox.clock(), signalbox.clock(), '{}', s.default_ttl_ms, s.max_ttl_ms,
        s.waiting_ttl_ms, s.max_waiting, s.max_hold_ms, s.lock_delay_ms, s.claim_memory_ms, s.max_runs, s.max_attempts,
        s.max_age_ms, s.retry_delay_ms, s.retry_delay_max_ms, s.on_failure, s.priority_head_start_ms, s.rotate_by,
        s.retry_place, s.supersede_by, s.cancel_in_progress, s.on_full, s.max_wait_ms, s.reserve_max_ms, s.on_failover
      from wanted w cross join lateral jsonb_populate_record(null::signalbox.queues, w.settings) s
      order by w.queue
      on conflict (queue) do nothing
      returning queue)
  insert into signalbox.lines (queue, concurrency_limit, paused, closed, cleanup, rotates, wide)
    select w.queue, s.concurrency_limit, s.paused, s.closed, s.cleanup, w.settings -> 'rotate_by' <> 'null',
      coalesce(s.concurrency_limit > 256, true)
    from made m
    join wanted w on w.queue = m.queue
    cross join lateral jsonb_populate_record(null::signalbox.lines, w.settings) s
    on conflict (queue) do nothing
$$;
