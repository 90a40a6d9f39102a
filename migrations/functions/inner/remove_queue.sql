-- Removes the rows of a queue that nobody holds or waits in, under its line's lock.
create or replace function signalbox.remove_queue(p_queue text) returns void
language plpgsql
as $$
begin
  delete from signalbox.wide_slots w where w.queue = p_queue;
  delete from signalbox.leases l where l.queue = p_queue;
  delete from signalbox.ready_queues r where r.queue = p_queue;
  delete from signalbox.dead_letters x where x.queue = p_queue;
  delete from signalbox.queues q where q.queue = p_queue;
  delete from signalbox.lines n where n.queue = p_queue;
end $$;
