-- When places of a queue may become free, as far as its past holds tell: typical_hold_ms of the whole queue, and, for queues of up
-- to 256 places, in how many ms each place that may be granted again is expected to be free, the soonest first (0 = it is
-- free; null, at the end = nobody can tell: no hold has ended yet, or this one has lasted longer than usual). Places above a lowered limit, and dirty ones, are left out. As its owner, since the reader of a view calls it.
create or replace function signalbox.hold_outlook(p_line signalbox.lines, out typical_ms bigint, out free_in_ms bigint[])
language plpgsql stable security definer cost 10000
set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz := signalbox.clock();
begin
  select avg(l.typical_hold_ms)::bigint into typical_ms
    from (select s.typical_hold_ms from signalbox.leases s where s.queue = p_line.queue order by s.slot limit 256) l;
  if p_line.wide or p_line.concurrency_limit = 0 then
    return;
  end if;
  select array_agg(p.free_in_ms order by p.free_in_ms nulls last) into free_in_ms from (
    select case
        when l.state = 'held' then case when signalbox.ms_until(v_now, l.acquired_at) <= typical_ms
          then typical_ms - signalbox.ms_until(v_now, l.acquired_at) end
        when l.free_after > v_now then signalbox.ms_until(l.free_after, v_now)
        else 0 end as free_in_ms
    from signalbox.leases l
    where l.queue = p_line.queue and (l.state = 'held' or l.free_after is null or isfinite(l.free_after))
    union all
    select 0 from generate_series(1, p_line.concurrency_limit - (
      select count(*) from signalbox.leases l where l.queue = p_line.queue))) p;
  -- Those that end first above the limit give their places to nobody.
  free_in_ms := free_in_ms[greatest(1, cardinality(free_in_ms) - p_line.concurrency_limit + 1):];
end $$;
