-- The places of a line that are taken, and the first ten who hold them. As its owner, since the reader of a
-- view calls it.
create or replace function signalbox.blocked_by(
  p_line signalbox.lines, out held bigint, out delayed bigint, out blocked_by jsonb
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
    -- The counter also counts slots in lock delay. They are looked for only where there can be any.
    delayed := 0;
    if exists (select 1 from signalbox.queues q where q.queue = p_line.queue and q.lock_delay_ms > 0) then
      select coalesce(sum(l.weight), 0) into delayed from signalbox.leases l where l.queue = p_line.queue and l.free_after > v_now;
    end if;
    held := p_line.held - delayed;
  else
    select coalesce(sum(l.weight) filter (where l.state = 'held'), 0),
        coalesce(sum(l.weight) filter (where l.free_after > v_now), 0)
      into held, delayed
      from signalbox.leases l where l.queue = p_line.queue;
  end if;
end $$;
