-- Until when nobody new gets a place of this queue, since a failover may have lost grants that their holders still believe
-- in; null = it grants. p_failover_at: of failover_at or known_failover_at; null = no failover, and this costs nothing.
-- A ttl_ms is a day at most. For whoever reads a view of ours too, who may not read the tables.
create or replace function signalbox.quarantine_end(p_queue text, p_failover_at timestamptz) returns timestamptz
language plpgsql stable strict security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_end timestamptz;
begin
  if p_failover_at <= signalbox.clock() - interval '1 day'
    or exists (select from signalbox.queues q where q.queue = p_queue and q.on_failover = 'immediate') then
    return null;
  end if;
  v_end := p_failover_at + signalbox.ms(signalbox.lost_ttl_ms(p_queue, p_failover_at));
  return case when v_end > signalbox.clock() then v_end end;
end $$;
