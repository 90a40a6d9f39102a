-- Gives back a run whose taker never got the answer, under the line's lock; the caller advances the line afterwards. The
-- request that took it counts as never made.
create or replace function signalbox.decide_return(
  p_line signalbox.lines, p_item integer, p_claim_id text, p_token bigint, p_request_id text
) returns signalbox_v1.decision
language plpgsql
as $$
declare
  v_lease signalbox.leases := signalbox.find_lease(p_line, p_claim_id);
begin
  if v_lease.state = 'held' and v_lease.fencing_token = p_token then
    perform signalbox.put_back(p_line, v_lease, 'untaken');
    delete from signalbox.takes t where t.holder = v_lease.holder and t.request_id = p_request_id;
    return (p_item, 'released', p_line.queue, p_claim_id, null)::signalbox_v1.decision;
  end if;
  return (p_item, 'not_released', p_line.queue, p_claim_id, null)::signalbox_v1.decision;
end $$;
