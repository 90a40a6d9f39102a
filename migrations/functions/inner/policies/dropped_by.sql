-- Which claim of a full line ends for a newcomer, by the queue's on_full; null = none does. Those that the newcomer
-- supersedes are gone already, or go first. A claim that was asked for in another queue is not ended for one here. Under the line's lock.
create or replace function signalbox.dropped_by(
  p_line signalbox.lines, p_settings signalbox.queues, p_claim signalbox.waiting, p_operation signalbox.operation
) returns signalbox.waiting
language plpgsql
as $$
declare
  v_dropped signalbox.waiting;
  v_place record;
begin
  if p_settings.on_full = 'refuse' or p_settings.max_waiting = 0 then
    return null;
  elsif p_settings.on_full = 'drop_oldest' then
    select * into v_dropped from signalbox.waiting w
      where w.queue = p_line.queue and w.kind = 'claim' and not signalbox.is_elsewhere(w.joint, w.queue)
        and w.priority <= p_claim.priority
        and not signalbox.supersedes(p_settings, p_claim.mode, p_claim.priority, p_claim.labels,
          w.mode, w.priority, w.labels)
      order by w.place, w.seq, w.rank limit 1;
    return v_dropped;
  end if;
  select * into v_dropped from signalbox.waiting w
    where w.queue = p_line.queue and w.kind = 'claim' and not signalbox.is_elsewhere(w.joint, w.queue)
      and not signalbox.supersedes(p_settings, p_claim.mode, p_claim.priority, p_claim.labels,
          w.mode, w.priority, w.labels)
    order by w.place desc, w.seq desc, w.rank desc limit 1;
  v_place := signalbox.place_ahead(p_line, p_settings, p_claim, p_operation.batch, p_operation.batch_rank);
  if (v_place.place, v_place.seq, v_place.rank) < (v_dropped.place, v_dropped.seq, v_dropped.rank) then
    return v_dropped;
  end if;
  return null;
end $$;
