-- Ends claims in line whose max_wait_ms is over, at most p_max, under the line's lock. Those who serve a line pass them by and
-- call this when nobody else is left; the leader ends the others (sweep_wait_timeouts).
create or replace function signalbox.end_timed_out(p_line signalbox.lines, p_max integer)
returns setof signalbox_v1.decision
language plpgsql
as $$
declare
  v_claim signalbox.waiting;
  v_memory_ms integer;
begin
  select q.claim_memory_ms into v_memory_ms from signalbox.queues q where q.queue = p_line.queue;
  for v_claim in
    select * from signalbox.waiting w
    where w.queue = p_line.queue and w.kind = 'claim' and w.wait_until <= signalbox.clock()
    order by w.place, w.seq, w.rank limit p_max
  loop
    perform signalbox.end_waiting(signalbox.in_line(v_claim), 'expired', 'wait_timeout');
    return next (null, 'ended', p_line.queue, v_claim.claim_id,
      signalbox.ended_claim(p_line.queue, v_claim.claim_id, v_memory_ms))::signalbox_v1.decision;
  end loop;
end $$;
