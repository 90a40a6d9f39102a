-- What a claim that has come just now waits for, at the head of the line (p_is_first) or behind others. Under the line's lock,
-- p_line as it is now. Only where there can be a lock delay or dirty places are the slots looked at again.
create or replace function signalbox.newcomer_waits_for(
  p_line signalbox.lines, p_settings signalbox.queues, p_is_first boolean, p_quarantined boolean default false
) returns text
language plpgsql
as $$
declare
  v_stand record;
begin
  if p_is_first and (p_settings.lock_delay_ms > 0 or p_line.cleanup) then
    v_stand := signalbox.blocked_by(p_line);
    return signalbox.waiting_for(p_line, 1, v_stand.held, v_stand.delayed, 'claim', false, v_stand.cleaning, p_quarantined);
  end if;
  return signalbox.waiting_for(p_line, case when p_is_first then 1 else 2 end, 0, 0, 'claim', false, 0, p_quarantined);
end $$;
