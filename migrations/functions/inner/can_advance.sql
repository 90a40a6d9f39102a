-- Reads without locks whether a line could move now: somebody waits, and a place is free or its lease has run out.
create or replace function signalbox.can_advance(p_queue text) returns boolean
language sql stable
as $$
  select n.waiting > 0 and not n.paused and n.concurrency_limit is distinct from 0
    and (n.concurrency_limit is null
      or n.wide and n.held < n.concurrency_limit
      or n.concurrency_limit > (
        select count(*) from signalbox.leases l
        where l.queue = n.queue
          and (l.state = 'held' and l.expires_at > signalbox.clock() or l.free_after > signalbox.clock())))
  from signalbox.lines n where n.queue = p_queue
$$;
