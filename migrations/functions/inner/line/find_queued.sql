-- The claim or run that waits under this id; due_at is null for one in line.
create or replace function signalbox.find_queued(p_queue text, p_claim_id text) returns signalbox.delayed
language plpgsql stable
as $$
declare
  v_waiting signalbox.waiting;
  v_delayed signalbox.delayed;
begin
  select w.* into v_waiting from signalbox.waiting w where w.claim_id = p_claim_id and w.queue = p_queue;
  if found then
    return signalbox.in_line(v_waiting);
  end if;
  select d.* into v_delayed from signalbox.delayed d where d.claim_id = p_claim_id and d.queue = p_queue;
  return v_delayed;
end $$;
