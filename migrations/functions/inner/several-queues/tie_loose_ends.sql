-- Puts right what claims on several queues left in this line because it could not be had when they ended, under its lock.
create or replace function signalbox.tie_loose_ends(p_queue text) returns setof signalbox_v1.decision
language plpgsql
as $$
declare
  v_end signalbox.loose_ends;
  v_line signalbox.lines;
  v_lease signalbox.leases;
  v_claim signalbox.delayed;
  v_others text[];
begin
  for v_end in select * from signalbox.loose_ends e where e.queue = p_queue order by e.claim_id, e.fencing_token limit 100 loop
    if v_end.fencing_token = 0 then
      v_claim := signalbox.find_queued(p_queue, v_end.claim_id);
      if signalbox.is_elsewhere(v_claim.joint, p_queue) then
        perform signalbox.drop_ticket(p_queue, v_end.claim_id);
      elsif v_claim.joint is not null then
        perform signalbox.end_waiting(v_claim, v_end.state, v_end.reason, v_end.actor, v_end.detail);
        v_others := array_remove(signalbox.queues_of(v_claim.joint), p_queue);
        select * into v_line from signalbox.lines n where n.queue = p_queue;
        return next (null, 'ended', p_queue, v_end.claim_id,
          signalbox.ended_claim_now(v_line, v_end.claim_id))::signalbox_v1.decision;
      end if;
    else
      perform 1 from signalbox.leases l where l.queue = p_queue and l.slot = v_end.slot for no key update skip locked;
      -- Somebody tries to renew it: soon. (A slot that is not there any more went with a queue of this name.)
      continue when not found
        and exists (select from signalbox.leases l where l.queue = p_queue and l.slot = v_end.slot);
      select * into v_lease from signalbox.leases l
        where l.queue = p_queue and l.slot = v_end.slot and l.state = 'held' and l.fencing_token = v_end.fencing_token;
      if found then
        select * into v_line from signalbox.lines n where n.queue = p_queue;
        perform signalbox.end_place(v_line, v_lease, v_end.state, v_end.reason, v_end.outcome, v_end.actor, v_end.detail,
          v_end.error);
      elsif v_end.state <> 'waiting' then
        -- (As in end_places; unless a new claim of this id waits by now.)
        v_claim := signalbox.find_queued(p_queue, v_end.claim_id);
        if signalbox.is_elsewhere(v_claim.joint, p_queue)
          and (signalbox.find_queued(v_claim.joint ->> 'primary', v_end.claim_id)).queue is null then
          perform signalbox.drop_ticket(p_queue, v_end.claim_id);
        end if;
      end if;
    end if;
    delete from signalbox.loose_ends e
      where e.queue = p_queue and e.claim_id = v_end.claim_id and e.fencing_token = v_end.fencing_token;
  end loop;
end $$;
