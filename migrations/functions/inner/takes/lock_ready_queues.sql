-- The queues with this prefix that have waited longest to be served, at most p_max, locked among the ready ones; those
-- that another take is at work on are passed over, and the caller is told so. Usually they are among the first of all; where
-- other prefixes, or other takes, stand before them, more are looked through: the first 256 of all, then those of the prefix
-- by name.
create or replace function signalbox.lock_ready_queues(
  p_prefix text, p_max integer, out queues text[], out passed_over boolean
)
language plpgsql
as $$
declare
  v_window integer;
  v_seen integer;
  v_first text[];
begin
  foreach v_window in array array[4 * p_max + 12, 256, 0] loop
    if v_window > 0 then
      select array_agg(r.queue) filter (where starts_with(r.queue, p_prefix)), count(*) into v_first, v_seen
        from (select o.queue from signalbox.ready_queues o order by o.ready_at, o.queue limit v_window) r;
    else
      select array_agg(r.queue) into v_first from signalbox.ready_queues r
        where r.queue >= p_prefix and r.queue < signalbox.prefix_end(p_prefix);
    end if;
    -- By time as an expression: the rows are found by name, not by reading the index of times until they come.
    queues := array(
      select r.queue from signalbox.ready_queues r where r.queue = any(v_first)
      order by r.ready_at + interval '0', r.queue limit p_max for update skip locked);
    exit when cardinality(queues) = p_max or v_seen < v_window;
  end loop;
  passed_over := cardinality(queues) < least(p_max, coalesce(cardinality(v_first), 0));
end $$;
