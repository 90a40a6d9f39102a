-- Why a grant of this claim with this token is over; null = the claim never had that token, as far as is remembered.
create or replace function signalbox.ended_token_reason(p_queue text, p_claim_id text, p_token bigint) returns text
language sql stable
as $$
  select signalbox.grant_end_reason(h.state, h.reason, h.outcome) from signalbox.history h
  where h.queue = p_queue and h.claim_id = p_claim_id and h.fencing_token = p_token limit 1
$$;
