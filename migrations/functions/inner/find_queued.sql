-- The claim or run that waits under this id; due_at is null for one in line.
create or replace function signalbox.find_queued(p_queue text, p_claim_id text) returns signalbox.delayed
language plpgsql stable
as $$
declare
  v_claim signalbox.delayed;
begin
  select (signalbox.in_line(w)).* into v_claim from signalbox.waiting w where w.claim_id = p_claim_id and w.queue = p_queue;
  if not found then
    select d.* into v_claim from signalbox.delayed d where d.claim_id = p_claim_id and d.queue = p_queue;
  end if;
  return v_claim;
end $$;
