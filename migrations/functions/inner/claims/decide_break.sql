-- Operator's forced end of one claim, under the line's lock; the caller advances the line afterwards.
create or replace function signalbox.decide_break(
  p_line signalbox.lines, p_item integer, p_claim_id text, p_reason text, p_actor text
) returns signalbox_v1.decision
language plpgsql
as $$
declare
  v_lease signalbox.leases := signalbox.find_lease(p_line, p_claim_id);
  v_claim signalbox.delayed;
  v_ended jsonb;
  v_lock_delay_ms integer;
begin
  if v_lease.state = 'held' and signalbox.is_elsewhere(v_lease.joint, p_line.queue) then
    return (p_item, 'not_primary', p_line.queue, p_claim_id,
      signalbox.joint_body(v_lease.joint, p_line.queue))::signalbox_v1.decision;
  end if;
  if v_lease.state = 'held' then
    select case when v_lease.offered then 0 else q.lock_delay_ms end into v_lock_delay_ms
      from signalbox.queues q where q.queue = p_line.queue;
    perform signalbox.end_lease(p_line, v_lease, 'broken', 'broken', p_lock_delay_ms => v_lock_delay_ms,
      p_actor => p_actor, p_detail => p_reason);
    return (p_item, 'broken', p_line.queue, p_claim_id, signalbox.ended_claim_now(p_line, p_claim_id))::signalbox_v1.decision;
  end if;
  v_claim := signalbox.find_queued(p_line.queue, p_claim_id);
  if signalbox.is_elsewhere(v_claim.joint, p_line.queue) then
    return (p_item, 'not_primary', p_line.queue, p_claim_id,
      signalbox.joint_body(v_claim.joint, p_line.queue))::signalbox_v1.decision;
  end if;
  if v_claim.queue is not null then
    perform signalbox.end_waiting(v_claim, 'broken', 'broken', p_actor, p_reason);
    return (p_item, 'broken', p_line.queue, p_claim_id, signalbox.ended_claim_now(p_line, p_claim_id))::signalbox_v1.decision;
  end if;
  v_ended := signalbox.ended_claim_now(p_line, p_claim_id);
  return (p_item, case when v_ended is null then 'claim_not_found' else 'already_ended' end, p_line.queue, p_claim_id,
    v_ended)::signalbox_v1.decision;
end $$;
