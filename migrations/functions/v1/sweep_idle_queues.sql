-- Leader's chore: queues that were made on first use, never configured, in which there is nothing, and that nobody has used
-- for p_idle_ms.
create or replace function signalbox_v1.sweep_idle_queues(
  p_leader text, p_epoch bigint, p_idle_ms bigint, p_after text default '', p_max integer default 100
) returns setof signalbox_v1.decision
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '250ms'
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
declare
  v_candidates text[];
  v_queue text;
  v_locked text[];
  v_idle_since timestamptz := signalbox.clock() - signalbox.ms(p_idle_ms);
begin
  perform signalbox.require_term(p_leader, p_epoch);
  select array_agg(c.queue order by c.queue) into v_candidates from (
    select q.queue from signalbox.queues q
    join signalbox.lines n on n.queue = q.queue
    where q.queue > p_after and q.auto_created and q.created_at < v_idle_since
      and n.waiting + n.runs + n.delayed + n.dead + n.dirty = 0
      and not exists (select 1 from signalbox.leases l
                      where l.queue = q.queue and (l.state = 'held' or l.ended_at >= v_idle_since))
    order by q.queue limit p_max) c;
  if v_candidates is null then
    return;
  end if;
  select array_agg(l.queue) into v_locked from (
    select n.queue from signalbox.lines n where n.queue = any(v_candidates)
    order by n.queue for no key update skip locked) l;
  for v_queue in
    select q.queue from signalbox.queues q
    join signalbox.lines n on n.queue = q.queue
    where q.queue = any(v_locked) and q.auto_created and n.waiting + n.runs + n.delayed + n.dead + n.dirty = 0
      and not exists (select 1 from signalbox.leases l
                      where l.queue = q.queue and (l.state = 'held' or l.ended_at >= v_idle_since))
      and not exists (select 1 from signalbox.waiting w where w.queue = q.queue and w.kind <> '')
      and not signalbox.has_inbox(q.queue)
    order by q.queue
  loop
    perform signalbox.remove_queue(v_queue);
    perform signalbox.record_event('queue.deleted', v_queue, null, jsonb_build_object('detail', 'idle'));
    return next (null, 'deleted', v_queue, null, null)::signalbox_v1.decision;
  end loop;
  return next (null, 'next', v_candidates[cardinality(v_candidates)], null, null)::signalbox_v1.decision;
end $$;
