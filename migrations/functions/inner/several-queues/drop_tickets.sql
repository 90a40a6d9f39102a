-- A claim on several queues has ended while it waited: its tickets go, now where the line can be had, else with whoever has
-- it next.
create or replace function signalbox.drop_tickets(p_joint jsonb, p_queue text, p_claim_id text, p_state text, p_reason text)
returns void
language plpgsql
as $$
declare
  v_others text[] := array_remove(signalbox.queues_of(p_joint), p_queue);
  v_locked text[];
  v_other text;
begin
  v_locked := signalbox.lock_lines(v_others);
  foreach v_other in array v_others loop
    if v_other = any(v_locked) then
      perform signalbox.drop_ticket(v_other, p_claim_id);
    else
      insert into signalbox.loose_ends (queue, claim_id, fencing_token, state, reason)
        values (v_other, p_claim_id, 0, p_state, p_reason) on conflict do nothing;
    end if;
  end loop;
end $$;
