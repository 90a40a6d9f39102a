-- A narrow queue's lock delay that has passed means nothing any more; cleared, the sweep does not find it again.
create or replace function signalbox.clear_lock_delays(p_queues text[]) returns void
language sql
as $$
  update signalbox.leases l set free_after = null
  from (select n.queue from signalbox.lines n where n.queue = any(p_queues) and not n.wide
        order by n.queue for no key update skip locked) n
  where l.queue = n.queue and l.state = 'free' and l.free_after <= signalbox.clock()
$$;
