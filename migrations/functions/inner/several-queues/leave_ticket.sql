-- A place that a claim on several queues had here becomes a ticket again, at its old place in this line. Under the line's lock.
create or replace function signalbox.leave_ticket(p_place signalbox.leases) returns void
language plpgsql
as $$
begin
  -- One that never stood in line goes before all that do, in the order of grants (see put_back).
  insert into signalbox.waiting (queue, claim_id, seq, priority, mode, holder, ttl_ms, lapsed_offers, labels, metadata,
      enqueued_at, attempts, place, rank, weight, joint)
    values (p_place.queue, p_place.claim_id,
      case when p_place.seq <> 0 then p_place.seq else p_place.fencing_token - 9007199254740992 end, p_place.priority,
      'wait', p_place.holder, p_place.ttl_ms, 0, p_place.labels, p_place.metadata, p_place.enqueued_at, p_place.attempt,
      p_place.place, p_place.rank, signalbox.asked_weight(p_place), p_place.joint - 'places');
  update signalbox.lines n set waiting = n.waiting + 1, several = n.several + 1 where n.queue = p_place.queue;
end $$;
