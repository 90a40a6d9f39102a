-- Ends one claim or run that waits in line or is delayed, under the line's lock. A run that dies keeps what is known of
-- its last grant: that is what an operator asks first.
create or replace function signalbox.end_waiting(
  p_claim signalbox.delayed, p_state text, p_reason text, p_actor text default null, p_detail text default null
) returns void
language plpgsql
as $$
declare
  v_blockers integer;
  v_rotates boolean;
  v_stops boolean := false;
  v_holder text;
  v_outcome text;
  v_error text;
begin
  if signalbox.is_elsewhere(p_claim.joint, p_claim.queue) then
    perform signalbox.lose_ticket(p_claim, p_state, p_reason, p_actor, p_detail);
    return;
  end if;
  if p_claim.due_at is null then
    delete from signalbox.waiting w where w.claim_id = p_claim.claim_id and w.queue = p_claim.queue;
  else
    delete from signalbox.delayed d where d.claim_id = p_claim.claim_id and d.queue = p_claim.queue;
  end if;
  if not found then
    return;
  end if;
  perform signalbox.forget_heard(p_claim.queue, p_claim.claim_id);
  update signalbox.lines n set
      waiting = n.waiting - (p_claim.due_at is null and p_claim.kind = 'claim')::integer,
      runs = n.runs - (p_claim.due_at is null and p_claim.kind = 'run')::integer,
      delayed = n.delayed - (p_claim.due_at is not null)::integer,
      several = n.several - case when p_claim.due_at is null
        then signalbox.asks_several(p_claim.weight, p_claim.joint) else 0 end,
      blockers = n.blockers - p_claim.blocks::integer
    where n.queue = p_claim.queue returning n.blockers, n.rotates into v_blockers, v_rotates;
  if v_rotates then
    perform signalbox.return_turn(p_claim);
  end if;
  if p_state = 'dead' and p_claim.attempts > 0 then
    select h.holder, h.outcome, h.error into v_holder, v_outcome, v_error from signalbox.history h
      where h.queue = p_claim.queue and h.claim_id = p_claim.claim_id and h.slot is not null
        and h.enqueued_at = p_claim.enqueued_at
      order by h.ended_at desc limit 1;
  end if;
  insert into signalbox.history (queue, claim_id, holder, state, reason, final, priority, mode, labels, metadata,
      enqueued_at, ended_at, actor, detail, kind, attempt, error, joint)
    values (p_claim.queue, p_claim.claim_id, p_claim.holder, p_state, p_reason, true, p_claim.priority, p_claim.mode,
      p_claim.labels, p_claim.metadata, p_claim.enqueued_at, signalbox.clock(), p_actor, p_detail, p_claim.kind,
      p_claim.attempts, v_error, p_claim.joint);
  if p_claim.kind = 'run' and p_state = 'dead' then
    if p_reason <> 'skipped' then
      select signalbox.failure_policy(n.concurrency_limit, q.on_failure) = 'stop' into v_stops
        from signalbox.lines n join signalbox.queues q on q.queue = n.queue where n.queue = p_claim.queue;
    end if;
    perform signalbox.bury(p_claim, p_reason, v_outcome, v_error, coalesce(v_holder, ''), v_stops, p_actor, p_detail);
  else
    perform signalbox.record_event('claim.' || p_state, p_claim.queue, p_claim.claim_id, signalbox.labelled(
      jsonb_strip_nulls(jsonb_build_object('holder', p_claim.holder, 'reason', p_reason, 'actor', p_actor, 'detail',
        p_detail)), p_claim.labels));
    if p_claim.kind = 'run' then
      delete from signalbox.runs r where r.queue = p_claim.queue and r.claim_id = p_claim.claim_id;
    end if;
  end if;
  if p_claim.blocks and v_blockers = 0 and not v_stops then
    perform signalbox.record_event('queue.unblocked', p_claim.queue, null, '{}');
  end if;
  if p_claim.joint is not null then
    perform signalbox.drop_tickets(p_claim.joint, p_claim.queue, p_claim.claim_id, p_state, p_reason);
  end if;
end $$;
