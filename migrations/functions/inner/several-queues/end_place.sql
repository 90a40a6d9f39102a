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
    perform signalbox.leave_ticket(p_lease);
  end if;
  perform signalbox.end_lease(p_line, p_lease, p_state, p_reason, p_outcome,
    case when p_state in ('expired', 'broken') and not p_lease.offered then v_settings.lock_delay_ms else 0 end, p_actor,
    p_detail, p_error);
end $$;
