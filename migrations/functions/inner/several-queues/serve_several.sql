-- As serve_line, for a line in which some ask for several places, of this queue or of others as well. A claim that asks for
-- more than there are takes the whole queue, so that a lowered limit never leaves it waiting for ever. None that waits for
-- this queue is passed by those behind it. One on several queues that has room here and waits for another one is passed, or
-- keeps its places, by the clock (see stand_of); only the first of them keeps any, so that those who need this queue alone
-- wait for one window at most at a time. Of them the first 20 are tried, and 1,000 claims looked at.
create or replace function signalbox.serve_several(p_line signalbox.lines, p_max integer)
returns setof signalbox_v1.decision
language plpgsql
as $$
declare
  v_limit integer := p_line.concurrency_limit;
  v_slots record;
  v_claim signalbox.waiting;
  v_lease signalbox.leases;
  v_max_hold_ms bigint;
  v_granted integer := 0;
  v_met integer := 0;
  v_needed integer;
  v_stand text;
  v_served record;
  v_tried integer := 0;
  v_keeper signalbox.waiting;
  v_kept integer := 0;
  v_is_older boolean;
begin
  select q.max_hold_ms into v_max_hold_ms from signalbox.queues q where q.queue = p_line.queue;
  v_slots := signalbox.count_slots(p_line);
  for v_claim in
    select * from signalbox.waiting w
    where w.queue = p_line.queue and w.kind = 'claim' and (w.wait_until is null or w.wait_until > signalbox.clock())
    order by w.place, w.seq, w.rank limit 1000
  loop
    exit when v_granted >= p_max;
    v_met := v_met + 1;
    v_needed := least(v_claim.weight, v_limit);
    -- However it stands, it is in nobody's way: so only a few are looked at closely, however many wait.
    continue when v_tried = 20 and v_claim.joint is not null
      and (v_slots.taken + v_kept + v_needed > v_limit) is not true;
    if v_claim.joint is not null then
      v_stand := signalbox.stand_of(v_claim);
      continue when v_stand = 'away';
    end if;
    exit when v_slots.taken + v_needed > v_limit;
    if v_claim.joint is null then
      exit when v_slots.taken + v_kept + v_needed > v_limit;
      v_lease := signalbox.serve_claim(p_line, v_claim, v_slots.free_slot, v_slots.top_slot, v_slots.newest_token,
        v_max_hold_ms);
      v_slots := signalbox.count_slots(p_line);
      v_granted := v_granted + 1;
      return next (null, 'held', p_line.queue, v_lease.claim_id, signalbox.lease_body(v_lease))::signalbox_v1.decision;
      continue;
    end if;
    v_is_older := (v_claim.enqueued_at, v_claim.claim_id) < (v_keeper.enqueued_at, v_keeper.claim_id);
    exit when v_slots.taken + v_kept + v_needed > v_limit and not v_is_older;
    continue when v_tried = 20;
    v_tried := v_tried + 1;
    v_served := signalbox.serve_joint(p_line.queue, v_claim);
    v_slots := signalbox.count_slots(p_line);
    return query select * from unnest(v_served.decisions);
    if v_served.result = 'granted' then
      v_granted := v_granted + 1;
    elsif v_served.result in ('blocked', 'busy') and v_keeper.claim_id is null then
      v_keeper := v_claim;
      -- A line that is busy is asked for again at once: until then nobody goes before it.
      v_kept := case when v_served.result = 'busy' or v_stand = 'keeps' then v_needed else 0 end;
    end if;
  end loop;
  if v_met = v_granted and v_granted < p_max then
    return query select * from signalbox.end_timed_out(p_line, p_max);
  end if;
end $$;
