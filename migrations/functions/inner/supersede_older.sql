-- What a newcomer with mode latest_only does to older ones of that mode and not of higher priority: those that wait end as
-- superseded. What is refused ends nobody: enough must go for the newcomer to have room behind those that stay, else
-- queue_full. Under the line's lock.
create or replace function signalbox.supersede_older(
  p_line signalbox.lines, p_settings signalbox.queues, p_item integer, p_operation signalbox.operation
) returns setof signalbox_v1.decision
language plpgsql
as $$
declare
  v_other signalbox.waiting;
  v_staying integer;
begin
  select n.waiting - (select count(*) from signalbox.waiting w
      where w.queue = p_line.queue and w.kind = 'claim' and w.mode = 'latest_only'
        and w.priority <= coalesce(p_operation.priority, 0))
    into v_staying from signalbox.lines n where n.queue = p_line.queue;
  if v_staying > 0 and v_staying >= p_settings.max_waiting then
    return next (p_item, 'queue_full', p_line.queue, p_operation.claim_id,
      jsonb_build_object('max_waiting', p_settings.max_waiting))::signalbox_v1.decision;
    return;
  end if;
  for v_other in
    select * from signalbox.waiting w
    where w.queue = p_line.queue and w.kind = 'claim' and w.mode = 'latest_only'
      and w.priority <= coalesce(p_operation.priority, 0)
  loop
    perform signalbox.end_waiting(signalbox.in_line(v_other), 'superseded', 'superseded',
      p_detail => p_operation.claim_id);
    return next (null, 'ended', p_line.queue, v_other.claim_id,
      signalbox.ended_claim(p_line.queue, v_other.claim_id, p_settings.claim_memory_ms))::signalbox_v1.decision;
  end loop;
end $$;
