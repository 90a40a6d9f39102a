-- Whether a newcomer has room in the line. Under the line's lock.
create or replace function signalbox.make_room(
  p_line signalbox.lines, p_settings signalbox.queues, p_item integer, p_claim signalbox.waiting
) returns setof signalbox_v1.decision
language plpgsql
as $$
begin
  if (select n.waiting from signalbox.lines n where n.queue = p_line.queue) >= p_settings.max_waiting then
    return next (p_item, 'queue_full', p_line.queue, p_claim.claim_id,
      jsonb_build_object('max_waiting', p_settings.max_waiting))::signalbox_v1.decision;
  end if;
end $$;
