-- Takes one claim out of the line and gives it a place, by the same rules as hand_over. Call it as grant_slot: count_slots has
-- shown that there is room. A waiting row is never updated, so the claim that was found is the row deleted here.
-- p_listens: of a claim on several queues its own queue knows whether somebody listens; null = this one does.
create or replace function signalbox.serve_claim(
  p_line signalbox.lines, p_claim signalbox.waiting, p_free_slot integer, p_top_slot integer, p_newest_token bigint,
  p_max_hold_ms bigint, p_listens boolean default null
) returns signalbox.leases
language plpgsql
as $$
declare
  v_listens_until timestamptz;
begin
  delete from signalbox.waiting w where w.claim_id = p_claim.claim_id and w.queue = p_line.queue;
  select h.listens_until into v_listens_until from signalbox.heard h
    where h.queue = p_line.queue and h.claim_id = p_claim.claim_id;
  perform signalbox.forget_heard(p_line.queue, p_claim.claim_id);
  update signalbox.lines n
    set waiting = n.waiting - 1, several = n.several - signalbox.asks_several(p_claim.weight, p_claim.joint),
        claim_round = case when n.rotates
          then signalbox.round_after(n.claim_round, p_claim.place - n.order_base, p_claim.priority)
          else n.claim_round end
    where n.queue = p_line.queue;
  return signalbox.grant_slot(p_line, p_claim, p_free_slot, p_top_slot, p_newest_token,
    coalesce(p_listens, v_listens_until > signalbox.clock(), false), p_max_hold_ms);
end $$;
