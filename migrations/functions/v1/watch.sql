-- What a replica must know for the clients that wait on it, [{"queue", "claim_id"}], in one read for all of them: code
-- 'can_advance' = this queue's line could move, call advance; code 'moved' = this claim no longer waits, look at it.
create or replace function signalbox_v1.watch(p_items jsonb) returns setof signalbox_v1.decision
language sql security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
as $$
  select null::integer, 'can_advance', d.queue, null::text, null::jsonb
  from (select distinct x.queue from jsonb_to_recordset(p_items) as x(queue text)) d
  where signalbox.can_advance(d.queue)
  union all
  select null, 'moved', x.queue, x.claim_id, null
  from jsonb_to_recordset(p_items) as x(queue text, claim_id text)
  -- One probe an item (limit): an anti-join would keep the plan of an empty table (see hear_waiting).
  where (select 1 from signalbox.waiting w where w.claim_id = x.claim_id and w.queue = x.queue limit 1) is null
    and (select 1 from signalbox.delayed d where d.claim_id = x.claim_id and d.queue = x.queue limit 1) is null
$$;
