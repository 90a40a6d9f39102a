-- A token that the claim never had: is the claim itself known?
create or replace function signalbox.mismatch_code(p_line signalbox.lines, p_claim_id text) returns text
language sql stable
as $$
  select case when (signalbox.find_lease(p_line, p_claim_id)).queue is not null
    or exists (select 1 from signalbox.waiting w where w.claim_id = p_claim_id and w.queue = p_line.queue)
    or exists (select 1 from signalbox.delayed d where d.claim_id = p_claim_id and d.queue = p_line.queue)
    or exists (select 1 from signalbox.history h where h.queue = p_line.queue and h.claim_id = p_claim_id)
    then 'token_mismatch' else 'claim_not_found' end
$$;
