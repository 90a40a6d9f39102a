-- Gives back a run, or a slot to clean, whose taker never got the answer, under the line's lock; the caller advances the line afterwards. The
-- request that took it counts as never made. If that request was repeated meanwhile, the run has gone out with the answer
-- to the repeat, and is worked on: then it stays where it is. (repeat_take locks no line, so waiting for it here is safe.)
create or replace function signalbox.decide_return(
  p_line signalbox.lines, p_item integer, p_claim_id text, p_token bigint, p_request_id text
) returns signalbox_v1.decision
language plpgsql
as $$
declare
  v_lease signalbox.leases := signalbox.find_lease(p_line, p_claim_id);
  v_given jsonb := jsonb_build_object('queue', p_line.queue, 'claim_id', p_claim_id, 'fencing_token', p_token);
begin
  if v_lease.state = 'held' and v_lease.fencing_token = p_token then
    if p_request_id is not null then
      update signalbox.takes t set claims = t.claims - (
          select (c.n - 1)::integer from jsonb_array_elements(t.claims) with ordinality c(value, n) where c.value = v_given)
        where t.holder = v_lease.holder and t.request_id = p_request_id and not t.closed
          and t.claims @> jsonb_build_array(v_given);
      if not found then
        return (p_item, 'not_released', p_line.queue, p_claim_id, null)::signalbox_v1.decision;
      end if;
      delete from signalbox.takes t
        where t.holder = v_lease.holder and t.request_id = p_request_id and t.claims = '[]';
    end if;
    if v_lease.kind = 'cleaning' then
      perform signalbox.end_lease(p_line, v_lease, 'released', 'untaken', 'retry');
    else
      perform signalbox.put_back(p_line, v_lease, 'untaken');
    end if;
    return (p_item, 'released', p_line.queue, p_claim_id, null)::signalbox_v1.decision;
  end if;
  return (p_item, 'not_released', p_line.queue, p_claim_id, null)::signalbox_v1.decision;
end $$;
