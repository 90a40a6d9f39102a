-- Whether this line has p_weight places for a claim now, those considered that stand before it (p_claim null: all do). Under
-- the line's lock this decides, without it it explains. Nobody passes a claim that waits for this queue; the first one that
-- has room here and waits for another queue keeps its places in its windows (see stand_of), but not from an older claim
-- on several queues: of two that each stand before the other somewhere, one goes first.
create or replace function signalbox.has_room(
  p_line signalbox.lines, p_weight integer, p_claim signalbox.waiting default null
) returns boolean
language plpgsql
as $$
declare
  v_limit integer := p_line.concurrency_limit;
  v_ahead signalbox.waiting;
  v_stand text;
  v_taken bigint;
  v_is_kept boolean := false;
  v_fits boolean;
  v_looked integer := 0;
begin
  -- (What another transaction is just writing down of a failover counts too, so known_failover_at is not enough.)
  if p_line.paused or v_limit = 0
    or signalbox.quarantine_end(p_line.queue, signalbox.failover_at()) is not null then
    return false;
  elsif v_limit is null then
    return true;
  end if;
  v_taken := (signalbox.count_slots(p_line)).taken + least(p_weight, v_limit);
  if v_taken > v_limit then
    return false;
  end if;
  for v_ahead in
    select * from signalbox.waiting w
    where w.queue = p_line.queue and w.kind = 'claim' and (w.wait_until is null or w.wait_until > signalbox.clock())
      and (p_claim.claim_id is null or (w.place, w.seq, w.rank) < (p_claim.place, p_claim.seq, p_claim.rank))
    order by w.place, w.seq, w.rank limit 1000
  loop
    v_looked := v_looked + 1;
    if v_ahead.joint is null then
      v_taken := v_taken + least(v_ahead.weight, v_limit);
    else
      v_fits := v_taken - least(p_weight, v_limit) + least(v_ahead.weight, v_limit) <= v_limit;
      -- However it stands, it is in nobody's way: so only a few are asked, however many wait.
      continue when v_is_kept and v_fits;
      v_stand := signalbox.stand_of(v_ahead);
      continue when v_stand = 'away';
      if not v_fits then
        return false;
      end if;
      if v_stand = 'keeps' and not v_is_kept
        and not coalesce((p_claim.enqueued_at, p_claim.claim_id) < (v_ahead.enqueued_at, v_ahead.claim_id)
          and p_claim.joint is not null, false) then
        v_taken := v_taken + least(v_ahead.weight, v_limit);
      end if;
      v_is_kept := true;
    end if;
    if v_taken > v_limit then
      return false;
    end if;
  end loop;
  return v_looked < 1000;
end $$;
