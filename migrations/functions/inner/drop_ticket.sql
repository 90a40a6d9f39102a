-- Takes the ticket of a claim that was asked for in another queue out of this line, under its lock.
create or replace function signalbox.drop_ticket(p_queue text, p_claim_id text) returns void
language plpgsql
as $$
begin
  delete from signalbox.waiting w where w.claim_id = p_claim_id and w.queue = p_queue;
  if found then
    update signalbox.lines n set waiting = n.waiting - 1, several = n.several - 1 where n.queue = p_queue;
  end if;
end $$;
