-- Cancel of one claim, under the line's lock; the caller advances the line afterwards. A held claim is only asked to stop.
create or replace function signalbox.decide_cancel(p_line signalbox.lines, p_item integer, p_claim_id text)
returns signalbox_v1.decision
language plpgsql
as $$
declare
  v_lease signalbox.leases := signalbox.find_lease(p_line, p_claim_id);
  v_claim signalbox.delayed;
  v_ended jsonb;
begin
  if v_lease.state = 'held' and signalbox.is_elsewhere(v_lease.joint, p_line.queue) then
    return (p_item, 'not_primary', p_line.queue, p_claim_id,
      signalbox.joint_body(v_lease.joint, p_line.queue))::signalbox_v1.decision;
  end if;
  if v_lease.state = 'held' and v_lease.expires_at <= signalbox.clock() then
    -- This one alone: what others come to is told by who advances the line.
    perform signalbox.end_expired_leases(p_line, p_slot => v_lease.slot);
    v_lease := signalbox.find_lease(p_line, p_claim_id);
  end if;
  if v_lease.state = 'held' and v_lease.offered then
    v_lease := signalbox.end_lease(p_line, v_lease, 'cancelled', 'cancelled');
    return (p_item, 'cancelled', p_line.queue, p_claim_id, signalbox.ended_lease_body(v_lease))::signalbox_v1.decision;
  elsif v_lease.state = 'held' then
    update signalbox.leases l set release_requested = true
      where l.queue = v_lease.queue and l.slot = v_lease.slot and l.fencing_token = v_lease.fencing_token
      returning * into v_lease;
    perform signalbox.record_event('lease.release_requested', p_line.queue, p_claim_id,
      signalbox.labelled(jsonb_build_object('holder', v_lease.holder, 'slot', v_lease.slot, 'fencing_token',
        v_lease.fencing_token), v_lease.labels));
    return (p_item, 'release_requested', p_line.queue, p_claim_id, signalbox.lease_body(v_lease))::signalbox_v1.decision;
  end if;
  v_claim := signalbox.find_queued(p_line.queue, p_claim_id);
  if signalbox.is_elsewhere(v_claim.joint, p_line.queue) then
    return (p_item, 'not_primary', p_line.queue, p_claim_id,
      signalbox.joint_body(v_claim.joint, p_line.queue))::signalbox_v1.decision;
  end if;
  if v_claim.queue is not null then
    perform signalbox.end_waiting(v_claim, 'cancelled', 'cancelled');
    return (p_item, 'cancelled', p_line.queue, p_claim_id, signalbox.ended_claim_now(p_line, p_claim_id))::signalbox_v1.decision;
  end if;
  v_ended := signalbox.ended_claim_now(p_line, p_claim_id);
  return (p_item, case when v_ended is null then 'claim_not_found' else 'already_ended' end, p_line.queue, p_claim_id,
    v_ended)::signalbox_v1.decision;
end $$;
