-- In which of these queues a waiting cleaner might be given a slot now: one row each, code dirty. One read for all cleaners of
-- a replica.
create or replace function signalbox_v1.watch_cleaners(p_queues text[]) returns setof signalbox_v1.decision
language sql security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
  select null::integer, 'dirty', u.queue, null::text, null::jsonb
  from unnest(p_queues) u(queue)
  where signalbox.may_clean(u.queue)
$$;
