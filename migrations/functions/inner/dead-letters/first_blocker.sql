-- The first place in the order of a queue that keeps those behind it waiting: a retried run that waits for its time, or
-- a dead one of a queue that stops. Nulls = none.
create or replace function signalbox.first_blocker(p_queue text, out place bigint, out seq bigint, out rank bigint)
language sql stable
as $$
  select b.place, b.seq, b.rank from (
    (select d.place, d.seq, d.rank from signalbox.delayed d where d.queue = p_queue and d.blocks
     order by d.place, d.seq, d.rank limit 1)
    union all
    (select x.place, x.seq, x.rank from signalbox.dead_letters x where x.queue = p_queue and x.blocks
     order by x.place, x.seq, x.rank limit 1)) b
  order by b.place, b.seq, b.rank limit 1
$$;
