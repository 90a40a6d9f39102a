-- What a decision about a merge queue is made from: the time, the token a grant made now would bear, the queue (null = there
-- is none of that name), its builds, and when the database failed over (null = it did not), all of one moment. Times are ms
-- since 1970. Dropped first: a function's columns cannot be replaced.
drop function if exists signalbox_v1.read_merge_queue(text);
create or replace function signalbox_v1.read_merge_queue(p_queue text)
returns table (now_ms bigint, next_token bigint, queue jsonb, requests jsonb, failover_at_ms bigint)
language sql security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
as $$
  select
    signalbox.ms_of(signalbox.clock()),
    greatest(q.fencing_token + 1, signalbox.token_floor()),
    case when q.queue is not null then jsonb_build_object(
      'version', q.version, 'auto_created', q.auto_created, 'window_started_at_ms', signalbox.ms_of(q.window_started_at),
      'fencing_token', q.fencing_token,
      'settings', jsonb_build_object(
        'stabilisation_ms', q.stabilisation_ms, 'ttl_ms', q.ttl_ms, 'expected_count', q.expected_count,
        'delay_count', q.delay_count, 'hold_ttl_ms', q.hold_ttl_ms, 'success_completes', q.success_completes,
        'require_token', q.require_token, 'refused_acquire_updates', q.refused_acquire_updates)) end,
    coalesce((
      select jsonb_agg(jsonb_build_object(
        'head_sha', r.head_sha, 'head_ref', r.head_ref, 'priority', r.priority, 'status', r.status,
        'request_id', r.request_id, 'registered_at_ms', signalbox.ms_of(r.registered_at),
        'last_seen_at_ms', signalbox.ms_of(r.last_seen_at), 'hold_ttl_ms', r.hold_ttl_ms, 'delays_counted', r.delays_counted,
        'fencing_token', r.fencing_token, 'acquired_at_ms', signalbox.ms_of(r.acquired_at),
        'expires_at_ms', signalbox.ms_of(r.expires_at), 'ended_at_ms', signalbox.ms_of(r.ended_at),
        'is_known', r.is_known) order by r.registered_at, r.head_sha)
      from signalbox.merge_requests r where r.queue = p_queue), '[]'),
    signalbox.ms_of(signalbox.failover_at())
  from (select 1) one left join signalbox.merge_queues q on q.queue = p_queue
$$;
