-- The ticket of a claim that was asked for in another queue ends by itself, under this line's lock: with it the whole claim
-- does, now if its own line can be had, else with whoever has that next.
create or replace function signalbox.lose_ticket(
  p_claim signalbox.delayed, p_state text, p_reason text, p_actor text, p_detail text
) returns void
language plpgsql
as $$
declare
  v_primary text := p_claim.joint ->> 'primary';
  v_claim signalbox.delayed;
begin
  perform signalbox.drop_ticket(p_claim.queue, p_claim.claim_id);
  if v_primary = any(signalbox.lock_lines(array[v_primary])) then
    v_claim := signalbox.find_queued(v_primary, p_claim.claim_id);
    if v_claim.joint is not null then
      perform signalbox.end_waiting(v_claim, p_state, p_reason, p_actor, p_detail);
    end if;
  else
    insert into signalbox.loose_ends (queue, claim_id, fencing_token, state, reason, actor, detail)
      values (v_primary, p_claim.claim_id, 0, p_state, p_reason, p_actor, p_detail) on conflict do nothing;
  end if;
end $$;
