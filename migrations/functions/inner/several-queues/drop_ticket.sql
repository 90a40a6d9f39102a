-- Takes the ticket of a claim that was asked for in another queue out of this line, under its lock. Its turn comes back.
create or replace function signalbox.drop_ticket(p_queue text, p_claim_id text) returns void
language plpgsql
as $$
declare
  v_ticket signalbox.waiting;
  v_rotates boolean;
begin
  delete from signalbox.waiting w
    where w.claim_id = p_claim_id and w.queue = p_queue and signalbox.is_elsewhere(w.joint, w.queue)
    returning * into v_ticket;
  if found then
    update signalbox.lines n set waiting = n.waiting - 1, several = n.several - 1 where n.queue = p_queue
      returning n.rotates into v_rotates;
    if v_rotates then
      perform signalbox.return_turn(signalbox.in_line(v_ticket));
    end if;
  end if;
end $$;
