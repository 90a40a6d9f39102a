-- Leader's chore: runs enqueued from SQL go from the inbox into their lines, at most p_max a call; body.rows says how many
-- of a queue. What does not fit a queue's max_runs stays there. Code queue_missing: runs wait for a queue that does not
-- exist. `next` goes on behind the queue it names; more (body) = begin again after the last, some queue had more.
create or replace function signalbox_v1.sweep_inbox(
  p_leader text, p_epoch bigint, p_after text default '', p_more boolean default false, p_max integer default 100
) returns setof signalbox_v1.decision
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '250ms'
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
declare
  v_queue text;
  v_seen text := p_after;
  v_looked integer := 0;
  v_candidates text[] := '{}';
  v_locked text[];
  v_rows integer;
  v_moved integer := 0;
  v_more boolean := p_more;
  v_ended boolean;
begin
  perform signalbox.require_term(p_leader, p_epoch);
  -- A loose index scan: one probe per queue, however many rows it has there.
  while v_looked < 1000 and cardinality(v_candidates) < p_max loop
    select b.queue into v_queue from signalbox.inbox b where b.queue > v_seen order by b.queue, b.id limit 1;
    exit when v_queue is null;
    v_looked := v_looked + 1;
    v_seen := v_queue;
    if (select 1 from signalbox.lines n where n.queue = v_queue) is null then
      return next (null, 'queue_missing', v_queue, null, null)::signalbox_v1.decision;
    else
      v_candidates := v_candidates || v_queue;
    end if;
  end loop;
  v_ended := v_queue is null;
  select array_agg(l.queue) into v_locked from (
    select n.queue from signalbox.lines n where n.queue = any(v_candidates)
    order by n.queue for no key update skip locked) l;
  foreach v_queue in array coalesce(v_locked, '{}') loop
    if v_moved >= p_max then
      v_ended := false;
      exit;
    end if;
    v_rows := signalbox.move_inbox(v_queue, p_max - v_moved);
    continue when v_rows = 0;
    v_moved := v_moved + v_rows;
    v_seen := case when v_moved >= p_max then v_queue else v_seen end;
    -- Only where something moved: where there is no room, going on would go on for ever.
    v_more := v_more or signalbox.has_inbox(v_queue);
    return next (null, 'moved', v_queue, null, jsonb_build_object('rows', v_rows))::signalbox_v1.decision;
    if signalbox.refresh_ready(v_queue) then
      return next (null, 'ready', v_queue, null, null)::signalbox_v1.decision;
    end if;
  end loop;
  if not v_ended then
    return next (null, 'next', v_seen, null, jsonb_build_object('more', v_more))::signalbox_v1.decision;
  elsif v_more then
    return next (null, 'next', '', null, jsonb_build_object('more', false))::signalbox_v1.decision;
  end if;
end $$;
