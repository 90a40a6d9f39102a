-- Release of one claim, under the line's lock; the caller advances the line afterwards. A token that this claim had, now
-- or ever, is answered without complaint: a repeated release is success. One it never had is token_mismatch.
create or replace function signalbox.decide_release(
  p_line signalbox.lines, p_item integer, p_claim_id text, p_token bigint, p_outcome text
) returns signalbox_v1.decision
language plpgsql
as $$
declare
  v_lease signalbox.leases := signalbox.find_lease(p_line, p_claim_id);
  v_reason text;
begin
  if v_lease.state = 'held' and v_lease.fencing_token = p_token then
    v_lease := signalbox.end_lease(p_line, v_lease, 'released', 'released', p_outcome);
    return (p_item, 'released', p_line.queue, p_claim_id, signalbox.ended_lease_body(v_lease))::signalbox_v1.decision;
  end if;
  v_reason := case when v_lease.state = 'free' and v_lease.fencing_token = p_token then v_lease.end_reason
    else signalbox.ended_token_reason(p_line.queue, p_claim_id, p_token) end;
  if v_reason is not null then
    return (p_item, 'not_released', p_line.queue, p_claim_id, jsonb_build_object('reason', v_reason))::signalbox_v1.decision;
  end if;
  return (p_item, signalbox.mismatch_code(p_line, p_claim_id), p_line.queue, p_claim_id, null)::signalbox_v1.decision;
end $$;
