-- As serve_line, for a line in which some ask for several places. A claim that asks for more than there are takes the whole
-- queue, so that a lowered limit never leaves it waiting for ever. None is passed by those behind it.
create or replace function signalbox.serve_several(p_line signalbox.lines, p_max integer)
returns setof signalbox_v1.decision
language plpgsql
as $$
declare
  v_slots record;
  v_claim signalbox.waiting;
  v_lease signalbox.leases;
  v_max_hold_ms bigint;
  v_granted integer := 0;
begin
  select q.max_hold_ms into v_max_hold_ms from signalbox.queues q where q.queue = p_line.queue;
  while v_granted < p_max loop
    select * into v_claim from signalbox.waiting w
      where w.queue = p_line.queue and w.kind = 'claim'
        and (w.wait_until is null or w.wait_until > signalbox.clock())
      order by w.place, w.seq, w.rank limit 1;
    if not found then
      return query select * from signalbox.end_timed_out(p_line, p_max);
      exit;
    end if;
    v_slots := signalbox.count_slots(p_line);
    exit when v_slots.taken + least(v_claim.weight, p_line.concurrency_limit) > p_line.concurrency_limit;
    v_lease := signalbox.serve_claim(p_line, v_claim, v_slots.free_slot, v_slots.top_slot, v_slots.newest_token,
      v_max_hold_ms);
    v_granted := v_granted + 1;
    return next (null, 'held', p_line.queue, v_lease.claim_id, signalbox.lease_body(v_lease))::signalbox_v1.decision;
  end loop;
end $$;
