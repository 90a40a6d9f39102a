-- Which of these waiting takers, [{"queue" or "prefix"}], might be given something now: one row each, code ready, item = its
-- index. One read for all takers of a replica.
create or replace function signalbox_v1.watch_takers(p_items jsonb) returns setof signalbox_v1.decision
language sql security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
  select (o.n - 1)::integer, 'ready', coalesce(o.value ->> 'queue', ''), null::text, null::jsonb
  from jsonb_array_elements(p_items) with ordinality o(value, n)
  where signalbox.may_give(o.value ->> 'queue', o.value ->> 'prefix')
$$;
