-- The leader's chores. Each call is one short transaction of at most p_max rows that first checks leader and epoch
-- (SB001 = deposed). `code` 'next' carries the cursor of the next call; without it the round is over.
-- This one: lines with somebody waiting that could move, because a wake-up was lost or a lease ran out.
create or replace function signalbox_v1.sweep_lines(
  p_leader text, p_epoch bigint, p_after text default '', p_max integer default 100
) returns setof signalbox_v1.decision
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '250ms'
set plan_cache_mode = force_generic_plan
as $$
declare
  v_queue text;
  v_candidates text[] := '{}';
  v_seen text := p_after;
  v_looked integer := 0;
  v_decision signalbox_v1.decision;
  v_moved integer := 0;
  v_granted text[] := '{}';
begin
  perform signalbox.require_term(p_leader, p_epoch);
  -- A loose index scan: one probe per queue with a line, however long the lines are.
  while v_looked < 1000 and cardinality(v_candidates) < p_max loop
    select w.queue into v_queue from signalbox.waiting w where w.queue > v_seen and w.kind <> '' order by w.queue limit 1;
    exit when v_queue is null;
    v_looked := v_looked + 1;
    v_seen := v_queue;
    if signalbox.can_advance(v_queue) then
      v_candidates := v_candidates || v_queue;
    end if;
  end loop;
  if p_after = '' then
    -- (Of a queue that was deleted nothing is left to end.)
    delete from signalbox.loose_ends e where e.ctid = any(array(
      select o.ctid from signalbox.loose_ends o
      where not exists (select from signalbox.lines n where n.queue = o.queue) limit p_max));
    -- What claims on several queues left in lines in which nobody waits.
    v_candidates := v_candidates || array(
      select distinct e.queue from signalbox.loose_ends e where e.queue <> all(v_candidates) limit p_max);
  end if;
  for v_decision in select * from signalbox_v1.advance(v_candidates, p_max) loop
    v_moved := v_moved + (v_decision.code not in ('ready', 'stir'))::integer;
    if v_decision.code = 'held' then
      v_granted := v_granted || v_decision.queue;
    end if;
    return next v_decision;
  end loop;
  -- Whoever frees a place serves the line itself: what is granted here, somebody was gone for.
  insert into signalbox.events (at, type, queue, data)
    select signalbox.clock(), 'queue.recovered', g.queue, jsonb_build_object('granted', count(*))
    from unnest(v_granted) g(queue) group by g.queue;
  if v_moved >= p_max then
    return next (null, 'next', p_after, null, null)::signalbox_v1.decision;
  elsif v_queue is not null then
    return next (null, 'next', v_seen, null, null)::signalbox_v1.decision;
  end if;
end $$;
