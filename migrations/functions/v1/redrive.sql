-- Operator's verb: dead letters of a queue go back into its line, each at its old place; attempts go on counting, and as many
-- more are allowed as the run was enqueued with. At most p_max ids, or null = all that died by p_died_by (default: now),
-- p_max a call: code next = call again with body.died_by. Codes: redriven (body: the run), not_found, one row each;
-- queue_not_found; ready.
create or replace function signalbox_v1.redrive(
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
    select * from signalbox.decide_letters('redrive', p_queue, p_claim_ids, p_actor, p_max, p_died_by);
end $$;
