-- The slot row of a claim: the held one if it holds, else the newest that still remembers it.
create or replace function signalbox.find_lease(p_line signalbox.lines, p_claim_id text) returns signalbox.leases
language plpgsql stable
as $$
declare
  v_lease signalbox.leases;
begin
  if p_line.wide then
    select l.* into v_lease from signalbox.wide_slots w join signalbox.leases l on l.queue = w.queue and l.slot = w.slot
      where w.queue = p_line.queue and w.claim_id = p_claim_id;
  else
    select l.* into v_lease from signalbox.leases l
      where l.queue = p_line.queue and l.claim_id = p_claim_id
      order by l.state desc, l.fencing_token desc limit 1;
  end if;
  return v_lease;
end $$;
