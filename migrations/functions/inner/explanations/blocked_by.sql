-- The places of a line that are taken, and the first ten who hold them. held: by claims and runs; cleaning: dirty places and
-- those that a cleaner is at work on. As its owner, since the reader of a view calls it.
create or replace function signalbox.blocked_by(
  p_line signalbox.lines, out held bigint, out delayed bigint, out blocked_by jsonb, out cleaning bigint
)
language plpgsql stable security definer cost 10000
set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz := signalbox.clock();
begin
  select coalesce(jsonb_agg(jsonb_build_object('claim_id', l.claim_id, 'holder', l.holder, 'slot', l.slot,
      'ttl_remaining_ms', signalbox.ms_until(l.expires_at, v_now)) order by l.slot), '[]')
    into blocked_by
    from (select l.* from signalbox.leases l where l.queue = p_line.queue and l.state = 'held'
          order by l.slot limit 10) l;
  if p_line.wide then
    -- The counter also counts slots in lock delay, and dirty ones. They are looked for only where there can be any.
    delayed := 0;
    cleaning := 0;
    if p_line.cleanup
      or exists (select 1 from signalbox.queues q where q.queue = p_line.queue and q.lock_delay_ms > 0) then
      select coalesce(sum(l.weight) filter (where l.free_after > v_now and l.free_after < 'infinity'), 0),
          coalesce(sum(l.weight) filter (where l.free_after = 'infinity' or l.state = 'held' and l.kind = 'cleaning'), 0)
        into delayed, cleaning
        from signalbox.leases l where l.queue = p_line.queue;
    end if;
    held := p_line.held - delayed - cleaning;
  else
    select coalesce(sum(l.weight) filter (where l.state = 'held' and l.kind <> 'cleaning'), 0),
        coalesce(sum(l.weight) filter (where l.free_after > v_now and l.free_after < 'infinity'), 0),
        coalesce(sum(l.weight) filter (where l.free_after = 'infinity' or l.state = 'held' and l.kind = 'cleaning'), 0)
      into held, delayed, cleaning
      from signalbox.leases l where l.queue = p_line.queue;
  end if;
end $$;
