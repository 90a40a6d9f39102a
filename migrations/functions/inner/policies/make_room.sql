-- Whether a newcomer has room in the line, or who gives way to it there: that one ends as superseded, reason overflow. Under
-- the line's lock.
create or replace function signalbox.make_room(
  p_line signalbox.lines, p_settings signalbox.queues, p_item integer, p_claim signalbox.waiting,
  p_operation signalbox.operation
) returns setof signalbox_v1.decision
language plpgsql
as $$
declare
  v_line signalbox.lines;   -- as earlier operations of this batch have left it
  v_dropped signalbox.waiting;
begin
  select * into v_line from signalbox.lines n where n.queue = p_line.queue;
  if p_settings.max_waiting is null or v_line.waiting < p_settings.max_waiting then
    return;
  end if;
  v_dropped := signalbox.dropped_by(v_line, p_settings, p_claim, p_operation);
  if v_dropped.queue is null then
    return next (p_item, 'queue_full', p_line.queue, p_claim.claim_id,
      jsonb_build_object('max_waiting', p_settings.max_waiting))::signalbox_v1.decision;
    return;
  end if;
  perform signalbox.end_waiting(signalbox.in_line(v_dropped), 'superseded', 'overflow', p_detail => p_claim.claim_id);
  return next (null, 'ended', p_line.queue, v_dropped.claim_id,
    signalbox.ended_claim(p_line.queue, v_dropped.claim_id, p_settings.claim_memory_ms))::signalbox_v1.decision;
end $$;
