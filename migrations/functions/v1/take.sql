-- Gives runs to workers: requests {"holder", "queue" or "prefix", "max", "ttl_ms", "request_id", "continues", "bytes"}, one
-- after another: the queue that has waited longest first, each queue its share, limits and order obeyed. Rows with code
-- taken carry the item and a lease. One row ends each item: served, {"more": there may be more to take, call again with
-- continues; "busy": a line was locked by somebody else; "repeated"}, or queue_not_found, ttl_too_long or request_id_reused. Rows without
-- item tell what happened to other claims; queue_missing: runs wait in the inbox for a queue that does not exist, so
-- ensure it. At most 64 lines are locked for an item, those of others are skipped, unless p_wait: then one named queue is
-- waited for. The same holder and request_id again: the same claims, those that are still held, and nothing new.
create or replace function signalbox_v1.take(p_items jsonb, p_wait boolean default false)
returns setof signalbox_v1.decision
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '250ms'
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
as $$
declare
  v_item record;
  v_decision signalbox_v1.decision;
begin
  perform signalbox.require_read_committed();
  for v_item in
    select (o.n - 1)::integer as item, o.value from jsonb_array_elements(p_items) with ordinality o(value, n) order by o.n
  loop
    for v_decision in select * from signalbox.take_for(v_item.value, p_wait) loop
      if v_decision.code in ('taken', 'served', 'queue_not_found', 'ttl_too_long', 'request_id_reused') then
        v_decision.item := v_item.item;
      end if;
      return next v_decision;
    end loop;
  end loop;
end $$;
