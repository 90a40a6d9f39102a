-- How a claim on several queues stands in one of its lines, by the clock alone. away: it does not wait now (its turn is
-- delayed, or it is just being ended), and nobody minds it. keeps: free places of the line are kept for it while it waits for
-- another queue. passes: those behind it may have them.
-- Windows of as many ms as the smallest reserve_max_ms of its queues, so that they are the same in all of them, alternate
-- from the time it was asked for: it keeps in the first, the third, and so on.
create or replace function signalbox.stand_of(p_claim signalbox.waiting) returns text
language plpgsql
as $$
declare
  v_window_ms integer;
begin
  if signalbox.is_elsewhere(p_claim.joint, p_claim.queue) and not exists (
    select from signalbox.waiting w
    where w.claim_id = p_claim.claim_id and w.queue = p_claim.joint ->> 'primary'
      and (w.wait_until is null or w.wait_until > signalbox.clock())) then
    return 'away';
  end if;
  select min(q.reserve_max_ms) into v_window_ms from signalbox.queues q
    where q.queue = any(signalbox.queues_of(p_claim.joint));
  return case
    when v_window_ms > 0 and signalbox.ms_until(signalbox.clock(), p_claim.enqueued_at) / v_window_ms % 2 = 0 then 'keeps'
    else 'passes' end;
end $$;
