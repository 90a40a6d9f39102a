-- Release of one claim, under the line's lock; the caller advances the line afterwards. A token that this claim had, now
-- or ever, is answered without complaint: a repeated release is success. One it never had is token_mismatch. With outcome
-- retry the claim goes back into the line at its old place, now or later; body.state says where it is.
create or replace function signalbox.decide_release(
  p_line signalbox.lines, p_item integer, p_claim_id text, p_token bigint, p_outcome text, p_retry_after_ms bigint,
  p_error text, p_uncounted boolean, p_holder text
) returns signalbox_v1.decision
language plpgsql
as $$
declare
  v_lease signalbox.leases := signalbox.find_lease(p_line, p_claim_id);
  v_settings signalbox.queues;
  v_claim signalbox.delayed;
  v_reason text;
begin
  if v_lease.state = 'held' and signalbox.is_elsewhere(v_lease.joint, p_line.queue) then
    return (p_item, 'not_primary', p_line.queue, p_claim_id,
      signalbox.joint_body(v_lease.joint, p_line.queue))::signalbox_v1.decision;
  end if;
  if v_lease.state = 'held' and v_lease.fencing_token = p_token then
    if v_lease.holder <> p_holder then
      return (p_item, 'token_mismatch', p_line.queue, p_claim_id, null)::signalbox_v1.decision;
    end if;
    -- A cleaner's lease has no line to go back to: its slot is dirty again.
    if p_outcome = 'retry' and v_lease.kind <> 'cleaning' then
      select * into v_settings from signalbox.queues q where q.queue = p_line.queue;
      v_lease := signalbox.put_back(p_line, v_lease, case when p_uncounted then 'untaken' else 'released' end,
        coalesce(p_retry_after_ms, signalbox.retry_delay_ms(v_settings, v_lease.attempt)), p_outcome, p_error);
      v_claim := signalbox.find_queued(p_line.queue, p_claim_id);
      return (p_item, 'released', p_line.queue, p_claim_id, jsonb_strip_nulls(jsonb_build_object(
        'state', case when v_claim.queue is null then v_lease.end_state
          when v_claim.due_at is null then 'waiting' else 'delayed' end,
        'dead_letter', case when v_lease.end_state = 'dead' then v_lease.end_reason end,
        'due_at', signalbox.rfc3339(v_claim.due_at),
        'due_in_ms', case when v_claim.due_at is not null then
          signalbox.ms_until(v_claim.due_at, signalbox.clock()) end))
        || signalbox.joint_body(v_lease.joint, p_line.queue))::signalbox_v1.decision;
    end if;
    v_lease := signalbox.end_lease(p_line, v_lease, 'released', 'released', p_outcome, p_error => p_error);
    return (p_item, 'released', p_line.queue, p_claim_id,
      jsonb_strip_nulls(jsonb_build_object('state', 'released', 'dead_letter',
        case when v_lease.kind = 'run' and p_outcome = 'failure' then 'failure' end))
        || signalbox.joint_body(v_lease.joint, p_line.queue))::signalbox_v1.decision;
  end if;
  v_reason := case when v_lease.state = 'free' and v_lease.fencing_token = p_token
    then signalbox.grant_end_reason(v_lease.end_state, v_lease.end_reason, v_lease.outcome)
    else signalbox.ended_token_reason(p_line.queue, p_claim_id, p_token) end;
  if v_reason is null and signalbox.lost_in_failover(p_line, p_line.queue, p_token) then
    v_reason := 'failover';
  end if;
  if v_reason is not null then
    return (p_item, 'not_released', p_line.queue, p_claim_id, jsonb_build_object('reason', v_reason))::signalbox_v1.decision;
  end if;
  return (p_item, signalbox.mismatch_code(p_line, p_claim_id), p_line.queue, p_claim_id, null)::signalbox_v1.decision;
end $$;
