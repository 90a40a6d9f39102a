-- The queue needs no cleaning any more: its dirty slots are free, those in lock delay when that has passed. Under the line's
-- lock; the caller lets the line advance. A cleaner at work goes on; when it ends, its slot is free.
create or replace function signalbox.free_dirty_slots(p_queue text) returns void
language plpgsql
as $$
declare
  v_now timestamptz := signalbox.clock();
begin
  update signalbox.leases l
    set free_after = greatest(v_now, l.rests_until), rests_until = null, previous = null
    where l.queue = p_queue and l.state = 'free' and l.free_after = 'infinity';
  update signalbox.lines n set dirty = 0 where n.queue = p_queue;
  if (select n.wide from signalbox.lines n where n.queue = p_queue) then
    perform signalbox.return_delayed_slots(p_queue);
  end if;
end $$;
