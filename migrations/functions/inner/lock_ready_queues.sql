-- The queues with this prefix that have waited longest to be served, at most p_max, locked among the ready ones; those
-- that another take is at work on are passed over, and the caller is told so. Usually they are among the first 256 of all; where other prefixes stand
-- before them, those of this prefix are looked through by name.
create or replace function signalbox.lock_ready_queues(
  p_prefix text, p_max integer, out queues text[], out passed_over boolean
)
language plpgsql
as $$
declare
  v_first text[];
  v_seen integer;
begin
  select array_agg(r.queue) filter (where starts_with(r.queue, p_prefix)), count(*) into v_first, v_seen
    from (select o.queue from signalbox.ready_queues o order by o.ready_at, o.queue limit 256) r;
  if v_seen = 256 and coalesce(cardinality(v_first), 0) < p_max and p_prefix <> '' then
    select array_agg(r.queue) into v_first from (
      select o.queue, o.ready_at from signalbox.ready_queues o
      where o.queue >= p_prefix and o.queue < signalbox.prefix_end(p_prefix)
      order by o.ready_at + interval '0', o.queue limit 256) r;
  end if;
  queues := array(
    select r.queue from signalbox.ready_queues r where r.queue = any(v_first)
    order by r.ready_at + interval '0', r.queue limit p_max for update skip locked);
  passed_over := cardinality(queues) < least(p_max, coalesce(cardinality(v_first), 0));
end $$;
