-- What a queue's slots look like now. Call it only with the line locked by an earlier statement. Places are counted
-- from rows that are not free, expired or not: capacity is never inferred from a time that has passed.
create or replace function signalbox.count_slots(
  p_line signalbox.lines,
  out taken integer,        -- what held rows and slots in lock delay weigh
  out expired integer,      -- held rows whose time has run out (wide queues: looked for only when they are full)
  out free_slot integer,    -- a slot that can be granted; null = a new one is needed
  out top_slot integer,
  out newest_token bigint
)
language plpgsql
as $$
declare
  v_now timestamptz := signalbox.clock();
begin
  if p_line.wide then
    select l.held, 0, l.free_head, l.top_slot, l.newest_token
      into taken, expired, free_slot, top_slot, newest_token
      from signalbox.lines l where l.queue = p_line.queue;
    if taken >= p_line.concurrency_limit then
      select count(*) into expired from signalbox.leases l
        where l.queue = p_line.queue
          and (l.state = 'held' and l.expires_at <= v_now or l.state = 'free' and l.free_after <= v_now);
    end if;
  else
    select coalesce(sum(l.weight) filter (where l.state = 'held' or l.free_after > v_now), 0),
           count(*) filter (where l.state = 'held' and l.expires_at <= v_now),
           min(l.slot) filter (where l.state = 'free' and (l.free_after is null or l.free_after <= v_now)),
           coalesce(max(l.slot), 0),
           coalesce(max(l.fencing_token), 0)
      into taken, expired, free_slot, top_slot, newest_token
      from signalbox.leases l where l.queue = p_line.queue;
  end if;
end $$;
