-- Keeps the waiting claims of connected clients alive, one statement for all of a replica's: [{"queue", "claim_id"}].
-- p_listen_ms 0 says that these clients hung up: they keep their place, but are no longer listening.
create or replace function signalbox_v1.hear(p_items jsonb, p_listen_ms integer) returns void
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '250ms'
set plan_cache_mode = force_generic_plan
as $$
begin
  -- Each item looks up its own row; a join would keep the plan of an empty table (see hear_waiting).
  perform 1 from signalbox.heard h
    where h.ctid = any(array(
      select g.ctid from jsonb_to_recordset(p_items) as x(queue text, claim_id text)
      cross join lateral (
        select h.ctid from signalbox.heard h where h.queue = x.queue and h.claim_id = x.claim_id limit 1) g))
    order by h.queue || '', h.claim_id for no key update; -- not by the index, which would be read whole
  update signalbox.heard h
    set heard_at = signalbox.clock(), listens_until = signalbox.clock() + signalbox.ms(p_listen_ms)
    where h.ctid = any(array(
      select g.ctid from jsonb_to_recordset(p_items) as x(queue text, claim_id text)
      cross join lateral (
        select h.ctid from signalbox.heard h where h.queue = x.queue and h.claim_id = x.claim_id limit 1) g));
end $$;
