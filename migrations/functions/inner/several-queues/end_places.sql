-- The lease of a claim on several queues has ended in its own queue: so do its places in the others, now where line and row
-- can be had (a renewal that has the row finds the claim gone), else with whoever has the line next.
create or replace function signalbox.end_places(
  p_lease signalbox.leases, p_state text, p_reason text, p_outcome text, p_actor text, p_detail text, p_error text
) returns void
language plpgsql
as $$
declare
  v_locked text[] := signalbox.lock_lines(array_remove(signalbox.queues_of(p_lease.joint), p_lease.queue));
  v_place record;
  v_line signalbox.lines;
  v_lease signalbox.leases;
begin
  for v_place in
    select x.* from jsonb_to_recordset(p_lease.joint -> 'places') as x(queue text, slot integer, fencing_token bigint)
    where x.queue <> p_lease.queue order by x.queue collate "C", x.slot
  loop
    v_lease := null;
    if v_place.queue = any(v_locked) then
      perform 1 from signalbox.leases l
        where l.queue = v_place.queue and l.slot = v_place.slot for no key update skip locked;
      if found then
        select * into v_lease from signalbox.leases l
          where l.queue = v_place.queue and l.slot = v_place.slot and l.state = 'held'
            and l.fencing_token = v_place.fencing_token;
        if not found then
          -- It ended by itself and left a ticket (see end_expired_leases): for a claim that waits again, or for nothing.
          if p_state <> 'waiting' then
            perform signalbox.drop_ticket(v_place.queue, p_lease.claim_id);
          end if;
          continue;
        end if;
      end if;
    end if;
    if v_lease.queue is null then
      insert into signalbox.loose_ends (queue, claim_id, fencing_token, slot, state, reason, outcome, actor, detail, error)
        values (v_place.queue, p_lease.claim_id, v_place.fencing_token, v_place.slot, p_state, p_reason, p_outcome, p_actor,
          p_detail, p_error) on conflict do nothing;
    else
      select * into v_line from signalbox.lines n where n.queue = v_place.queue;
      perform signalbox.end_place(v_line, v_lease, p_state, p_reason, p_outcome, p_actor, p_detail, p_error);
    end if;
  end loop;
end $$;
