-- Reads without locks whether a line could move now: something delayed is due, or a place is free or its lease has run out
-- and somebody waits, or runs wait and the queue is not known to be ready.
create or replace function signalbox.can_advance(p_queue text) returns boolean
language sql stable
as $$
  select coalesce(n.next_due_at <= signalbox.clock(), false)
    or exists (select from signalbox.loose_ends e where e.queue = n.queue)
    or (n.waiting > 0 or n.runs > 0) and not n.paused and n.concurrency_limit is distinct from 0
      and signalbox.quarantine_end(n.queue, signalbox.known_failover_at()) is null
      and (n.waiting > 0
        or (select 1 from signalbox.ready_queues r where r.queue = n.queue limit 1) is null
          and not signalbox.head_is_blocked(n))
      and (n.concurrency_limit is null
        or n.wide and n.held < n.concurrency_limit
        or n.concurrency_limit > (
          select coalesce(sum(l.weight), 0) + case when n.several = 0 then 0 else coalesce((
            -- The first needs that many, or who may be first.
            select case when w.joint is null then least(w.weight, n.concurrency_limit) - 1 else 0 end
            from signalbox.waiting w where w.queue = n.queue and w.kind = 'claim'
            order by w.place, w.seq, w.rank limit 1), 0) end
          from signalbox.leases l
          where l.queue = n.queue
            and (l.state = 'held' and l.expires_at > signalbox.clock() or l.free_after > signalbox.clock())))
  from signalbox.lines n where n.queue = p_queue
$$;
