-- Reads without locks whether a cleaner of this queue could be given a slot now, or make one dirty by ending a lease that
-- ran out.
create or replace function signalbox.may_clean(p_queue text) returns boolean
language plpgsql stable
as $$
declare
  v_now timestamptz := signalbox.clock();
  v_line signalbox.lines;
begin
  select * into v_line from signalbox.lines n where n.queue = p_queue;
  return coalesce(v_line.cleanup, false) and (
    v_line.dirty > 0 and signalbox.quarantine_end(p_queue, signalbox.known_failover_at()) is null and exists (
      select 1 from signalbox.leases l
      where l.queue = p_queue and l.free_after = 'infinity' and (l.rests_until is null or l.rests_until <= v_now))
    or exists (
      select 1 from signalbox.leases l where l.queue = p_queue and l.state = 'held' and l.expires_at <= v_now));
end $$;
