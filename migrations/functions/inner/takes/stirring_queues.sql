-- Queues with this prefix that something is about to come into: runs in the inbox, or delayed ones that are due; at most
-- p_max of both, some of each.
create or replace function signalbox.stirring_queues(p_prefix text, p_max integer) returns text[]
language plpgsql stable
as $$
declare
  v_queues text[] := '{}';
  v_queue text;
  v_now timestamptz := signalbox.clock(); -- a volatile function is no index condition
begin
  -- One probe per queue, however many rows it has there.
  v_queue := p_prefix;
  loop
    select b.queue into v_queue from signalbox.inbox b
      where b.queue >= v_queue and b.queue < signalbox.prefix_end(p_prefix)
      order by b.queue, b.id limit 1;
    exit when v_queue is null or cardinality(v_queues) >= greatest(1, p_max * 3 / 4);
    v_queues := v_queues || v_queue;
    v_queue := v_queue || ' '; -- before every longer name
  end loop;
  return v_queues || array(
    select distinct d.queue from (
      select e.queue from signalbox.delayed e where e.due_at <= v_now and e.mode <> '' order by e.due_at limit 100) d
    where starts_with(d.queue, p_prefix) and d.queue <> all(v_queues) limit p_max - cardinality(v_queues));
end $$;
