-- Leader's chore: claims and runs whose time has come go into their lines, those that were due first before others, about
-- p_max a call; body.rows says how many of a queue. Lines that somebody else holds are for the next round. `next` goes on
-- behind (body.at, queue, claim_id).
create or replace function signalbox_v1.sweep_due(
  p_leader text, p_epoch bigint, p_after_at timestamptz default '-infinity', p_after_queue text default '',
  p_after_claim text default '', p_max integer default 100
) returns setof signalbox_v1.decision
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '250ms'
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
declare
  v_now timestamptz := signalbox.clock();
  v_found record;
  v_looked integer := 0;
  v_candidates text[] := '{}';
  v_locked text[];
  v_queue text;
  v_rows integer;
  v_moved integer := 0;
  v_decision signalbox_v1.decision;
  v_next signalbox_v1.decision;
begin
  perform signalbox.require_term(p_leader, p_epoch);
  for v_found in
    select d.due_at, d.queue, d.claim_id from signalbox.delayed d
    where d.due_at between p_after_at and v_now and d.mode <> ''
      and (d.due_at, d.queue, d.claim_id) > (p_after_at, p_after_queue, p_after_claim)
    order by d.due_at, d.queue, d.claim_id limit p_max
  loop
    v_looked := v_looked + 1;
    v_candidates := v_candidates || v_found.queue;
    v_next := (null, 'next', v_found.queue, v_found.claim_id,
      jsonb_build_object('at', signalbox.rfc3339(v_found.due_at)))::signalbox_v1.decision;
  end loop;
  select array_agg(l.queue) into v_locked from (
    select n.queue from signalbox.lines n where n.queue = any(v_candidates)
    order by n.queue for no key update skip locked) l;
  foreach v_queue in array coalesce(v_locked, '{}') loop
    exit when v_moved >= p_max;
    select n.delayed into v_rows from signalbox.lines n where n.queue = v_queue;
    perform signalbox.move_due(v_queue, p_max - v_moved);
    for v_decision in select * from signalbox.advance_line(v_queue, p_max) loop
      v_moved := v_moved + (v_decision.code not in ('ready', 'stir'))::integer;
      return next v_decision;
    end loop;
    select v_rows - n.delayed into v_rows from signalbox.lines n where n.queue = v_queue;
    v_moved := v_moved + v_rows;
    if v_rows > 0 then
      return next (null, 'due', v_queue, null, jsonb_build_object('rows', v_rows))::signalbox_v1.decision;
    end if;
  end loop;
  if v_moved >= p_max then
    -- What was moved is gone, so the same place has others now.
    return next (null, 'next', p_after_queue, p_after_claim,
      jsonb_build_object('at', p_after_at))::signalbox_v1.decision;
  elsif v_looked = p_max then
    return next v_next;
  end if;
end $$;
