-- Operator's verb: everything that blocks the line of a queue stays where it is and blocks no more. At most p_max of them a
-- call: code next = call again. Codes: unblocked (body: how many), queue_not_found; rows without item tell what the line
-- did.
create or replace function signalbox_v1.unblock(
  p_queue text, p_actor text, p_reason text default null, p_max integer default 100
) returns setof signalbox_v1.decision
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '2s'
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
declare
  v_dead integer;
  v_delayed integer;
  v_left integer;
begin
  perform signalbox.require_read_committed();
  perform 1 from signalbox.lines n where n.queue = p_queue for no key update;
  if not found then
    return next (0, 'queue_not_found', p_queue, null, null)::signalbox_v1.decision;
    return;
  end if;
  update signalbox.dead_letters x set blocks = false where x.ctid = any(array(
    select o.ctid from signalbox.dead_letters o where o.queue = p_queue and o.blocks
    order by o.queue, o.place, o.seq, o.rank limit p_max));
  get diagnostics v_dead = row_count;
  update signalbox.delayed d set blocks = false where d.ctid = any(array(
    select o.ctid from signalbox.delayed o where o.queue = p_queue and o.blocks
    order by o.queue, o.place, o.seq, o.rank limit p_max - v_dead));
  get diagnostics v_delayed = row_count;
  update signalbox.lines n set blockers = n.blockers - v_dead - v_delayed where n.queue = p_queue
    returning n.blockers into v_left;
  return next (0, 'unblocked', p_queue, null,
    jsonb_build_object('unblocked', v_dead + v_delayed))::signalbox_v1.decision;
  if v_dead + v_delayed = 0 then
    return;
  elsif v_left > 0 then
    return next (null, 'next', p_queue, null, null)::signalbox_v1.decision;
  else
    perform signalbox.record_event('queue.unblocked', p_queue, null,
      jsonb_strip_nulls(jsonb_build_object('actor', p_actor, 'reason', p_reason)));
  end if;
  return query select * from signalbox.advance_line(p_queue);
end $$;
