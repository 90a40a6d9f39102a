-- The first place in the order of a queue that keeps those behind it waiting: a retried run that waits for its time, or
-- a dead one of a queue that stops. Nulls = none.
create or replace function signalbox.first_blocker(p_queue text, out priority integer, out seq bigint)
language sql stable
as $$
  select b.priority, b.seq from (
    (select d.priority, d.seq from signalbox.delayed d where d.queue = p_queue and d.blocks
     order by d.priority desc, d.seq limit 1)
    union all
    (select x.priority, x.seq from signalbox.dead_letters x where x.queue = p_queue and x.blocks
     order by x.priority desc, x.seq limit 1)) b
  order by b.priority desc, b.seq limit 1
$$;
