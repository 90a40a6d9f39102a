-- Removes the rows of a queue in which nothing holds, waits or is kept any more, under its line's lock. (A heard row that a
-- poll has locked is left for the leader, see forget_heard.)
create or replace function signalbox.remove_queue(p_queue text) returns void
language plpgsql
as $$
begin
  delete from signalbox.wide_slots w where w.queue = p_queue;
  delete from signalbox.leases l where l.queue = p_queue;
  delete from signalbox.loose_ends e where e.queue = p_queue;
  delete from signalbox.ready_queues r where r.queue = p_queue;
  delete from signalbox.turns t where t.queue = p_queue;
  delete from signalbox.batches b where b.queue = p_queue;
  delete from signalbox.heard h where h.ctid = any(array(
    select g.ctid from signalbox.heard g where g.queue = p_queue for update skip locked));
  delete from signalbox.queues q where q.queue = p_queue;
  delete from signalbox.lines n where n.queue = p_queue;
end $$;
