-- Ends the place that a claim on several queues has in one of them, under that line's lock. State `waiting`: the claim waits
-- again, and has a ticket at its old place here.
create or replace function signalbox.end_place(
  p_line signalbox.lines, p_lease signalbox.leases, p_state text, p_reason text, p_outcome text, p_actor text,
  p_detail text, p_error text
) returns void
language plpgsql
as $$
declare
  v_settings signalbox.queues;
begin
  select * into v_settings from signalbox.queues q where q.queue = p_line.queue;
  -- (Where this was late, the claim may have ended meanwhile: then it has no ticket.)
  if p_state = 'waiting'
    and (signalbox.find_queued(p_lease.joint ->> 'primary', p_lease.claim_id)).joint is not null then
    -- One that never stood in line goes before all that do, in the order of grants (see put_back).
    insert into signalbox.waiting (queue, claim_id, seq, priority, mode, holder, ttl_ms, lapsed_offers, labels, metadata,
        enqueued_at, attempts, place, rank, weight, joint)
      values (p_lease.queue, p_lease.claim_id,
        case when p_lease.seq <> 0 then p_lease.seq else p_lease.fencing_token - 9007199254740992 end, p_lease.priority,
        'wait', p_lease.holder, p_lease.ttl_ms, 0, p_lease.labels, p_lease.metadata, p_lease.enqueued_at, p_lease.attempt,
        p_lease.place, p_lease.rank, signalbox.asked_weight(p_lease), p_lease.joint - 'places');
    update signalbox.lines n set waiting = n.waiting + 1, several = n.several + 1 where n.queue = p_line.queue;
  end if;
  perform signalbox.end_lease(p_line, p_lease, p_state, p_reason, p_outcome,
    case when p_state in ('expired', 'broken') and not p_lease.offered then v_settings.lock_delay_ms else 0 end, p_actor,
    p_detail, p_error);
end $$;
