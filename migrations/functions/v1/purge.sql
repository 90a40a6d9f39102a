-- Operator's verb: drops dead letters of a queue, payload and all. Arguments as those of redrive. Codes: purged, not_found,
-- one row each; next; queue_not_found; ready.
create or replace function signalbox_v1.purge(
  p_queue text, p_claim_ids text[], p_actor text, p_max integer default 100, p_died_by timestamptz default null
) returns setof signalbox_v1.decision
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '2s'
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
begin
  perform signalbox.require_read_committed();
  return query
    select * from signalbox.decide_letters('purge', p_queue, p_claim_ids, p_actor, p_max, p_died_by);
end $$;
