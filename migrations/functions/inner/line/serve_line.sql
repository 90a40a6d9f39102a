-- Gives free places to the head of a line in which every claim asks for one place of this queue, at most p_max of them. Part of
-- advance_line, which has counted the slots.
create or replace function signalbox.serve_line(p_line signalbox.lines, p_slots record, p_max integer)
returns setof signalbox_v1.decision
language plpgsql
as $$
declare
  v_slots record := p_slots;
  v_claim signalbox.waiting;
  v_lease signalbox.leases;
  v_max_hold_ms bigint;
  v_granted integer := 0;
  v_is_served boolean := false;   -- nobody is left but who has waited too long
begin
  select q.max_hold_ms into v_max_hold_ms from signalbox.queues q where q.queue = p_line.queue;
  while v_granted < least(p_max, p_line.waiting) loop
    if v_granted > 0 then
      v_slots := signalbox.count_slots(p_line);
      exit when v_slots.taken >= p_line.concurrency_limit;
    end if;
    if not p_line.wide and v_slots.free_slot is not null then
      v_lease := signalbox.hand_over(p_line.queue, v_slots.free_slot, v_slots.newest_token, v_max_hold_ms);
      v_is_served := v_lease.queue is null;
      exit when v_is_served;
    else
      select * into v_claim from signalbox.waiting w
        where w.queue = p_line.queue and w.kind = 'claim'
          and (w.wait_until is null or w.wait_until > signalbox.clock())
        order by w.place, w.seq, w.rank limit 1;
      v_is_served := not found;
      exit when v_is_served;
      v_lease := signalbox.serve_claim(p_line, v_claim, v_slots.free_slot, v_slots.top_slot, v_slots.newest_token,
        v_max_hold_ms);
    end if;
    v_granted := v_granted + 1;
    return next (null, 'held', p_line.queue, v_lease.claim_id, signalbox.lease_body(v_lease))::signalbox_v1.decision;
  end loop;
  if v_is_served then
    return query select * from signalbox.end_timed_out(p_line, p_max);
  end if;
end $$;
