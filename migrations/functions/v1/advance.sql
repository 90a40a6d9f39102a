-- Ends what has run out in these queues and hands free places to their lines. Any replica may call it: it needs no
-- leader. A line that somebody else holds is skipped,
-- or waited for (p_wait), at most 100 ms each, in name order: 55P03 for the whole call. At most about p_max rows change; p_max decisions returned = call
-- again. (What was put back after a lapsed offer or
-- was due is no decision, but is counted: what is left is for the next round.)
create or replace function signalbox_v1.advance(
  p_queues text[], p_max integer default 100, p_wait boolean default false
)
returns setof signalbox_v1.decision
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '250ms'
set plan_cache_mode = force_generic_plan
as $$
declare
  v_queues text[];
  v_queue text;
  v_decision signalbox_v1.decision;
  v_moved integer := 0;
  v_waiting integer;
begin
  perform signalbox.require_read_committed();
  if p_wait then
    perform signalbox.await_lines(p_queues);
  end if;
  select array_agg(l.queue) into v_queues from (
    select n.queue from signalbox.lines n where n.queue = any(p_queues)
    order by n.queue for no key update skip locked) l;
  foreach v_queue in array coalesce(v_queues, '{}') loop
    exit when v_moved >= p_max;
    select n.waiting + n.runs into v_waiting from signalbox.lines n where n.queue = v_queue;
    for v_decision in select * from signalbox.advance_line(v_queue, p_max - v_moved) loop
      v_moved := v_moved + (v_decision.code not in ('ready', 'stir'))::integer;
      v_waiting := v_waiting - (v_decision.code = 'held')::integer + (v_decision.code = 'returned')::integer;
      return next v_decision;
    end loop;
    select v_moved + n.waiting + n.runs - v_waiting into v_moved from signalbox.lines n where n.queue = v_queue;
  end loop;
end $$;
