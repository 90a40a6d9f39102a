-- What a newcomer with mode latest_only does to older claims that it supersedes (see supersedes): those in line or delayed end
-- as superseded. What is refused ends nobody: enough must go for the newcomer to have room behind those that stay, or one of
-- those must give way to it (see dropped_by), else queue_full. Under the line's lock.
create or replace function signalbox.supersede_older(
  p_line signalbox.lines, p_settings signalbox.queues, p_item integer, p_claim signalbox.waiting,
  p_operation signalbox.operation
) returns setof signalbox_v1.decision
language plpgsql
as $$
declare
  v_line signalbox.lines;   -- as earlier operations of this batch have left it
  v_older signalbox.delayed[];
  v_other signalbox.delayed;
begin
  select * into v_line from signalbox.lines n where n.queue = p_line.queue;
  -- Where nobody may wait, the newcomer is granted now or refused, and then it ends none that is delayed either.
  if p_settings.max_waiting = 0 and not signalbox.has_room(v_line, p_claim.weight)
    and (signalbox.count_slots(v_line)).expired = 0 then
    return;
  end if;
  if v_line.waiting > 0 then
    v_older := array(
      select signalbox.in_line(w) from signalbox.waiting w
      where w.queue || '' = p_line.queue || '' and w.mode = 'latest_only' and w.kind = 'claim'
        and signalbox.supersedes(p_settings, p_claim.mode, p_claim.priority, p_claim.labels,
          w.mode, w.priority, w.labels));
    if v_line.waiting - cardinality(v_older) >= p_settings.max_waiting
      and (signalbox.dropped_by(v_line, p_settings, p_claim, p_operation)).queue is null then
      return next (p_item, 'queue_full', p_line.queue, p_claim.claim_id,
        jsonb_build_object('max_waiting', p_settings.max_waiting))::signalbox_v1.decision;
      return;
    end if;
  end if;
  if v_line.delayed > 0 then
    v_older := v_older || array(
      select d from signalbox.delayed d
      where d.queue = p_line.queue and d.kind = 'claim'
        and signalbox.supersedes(p_settings, p_claim.mode, p_claim.priority, p_claim.labels,
          d.mode, d.priority, d.labels));
  end if;
  foreach v_other in array coalesce(v_older, '{}') loop
    perform signalbox.end_waiting(v_other, 'superseded', 'superseded', p_detail => p_claim.claim_id);
    return next (null, 'ended', p_line.queue, v_other.claim_id,
      signalbox.ended_claim(p_line.queue, v_other.claim_id, p_settings.claim_memory_ms))::signalbox_v1.decision;
  end loop;
end $$;
