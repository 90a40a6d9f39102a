-- Leader's chore: leases that ran out where nobody waits. Nothing but cleaning, any acquire would take them over.
create or replace function signalbox_v1.sweep_leases(
  p_leader text, p_epoch bigint, p_after text default '', p_max integer default 100
) returns setof signalbox_v1.decision
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '250ms'
set plan_cache_mode = force_generic_plan
as $$
declare
  v_queues text[];
  v_decision signalbox_v1.decision;
  v_moved integer := 0;
begin
  perform signalbox.require_term(p_leader, p_epoch);
  select array_agg(distinct s.queue) into v_queues from (
    select l.queue from signalbox.leases l
    where l.queue > p_after
      and (l.state = 'held' and l.expires_at <= signalbox.clock() or l.free_after <= signalbox.clock())
    order by l.queue, l.slot limit p_max) s;
  if v_queues is null then
    return;
  end if;
  for v_decision in select * from signalbox_v1.advance(v_queues, p_max) loop
    v_moved := v_moved + (v_decision.code not in ('ready', 'stir'))::integer;
    return next v_decision;
  end loop;
  perform signalbox.clear_lock_delays(v_queues);
  return next (null, 'next', case when v_moved >= p_max then p_after else v_queues[cardinality(v_queues)] end, null,
    null)::signalbox_v1.decision;
end $$;
