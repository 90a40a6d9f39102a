-- Whether a token that its queue does not know may be of a grant that the last failover lost: it is newer than any the queue
-- had then, and so shortly after that whoever had it may still believe in it. Also where nobody waits for those to end.
create or replace function signalbox.lost_in_failover(p_line signalbox.lines, p_queue text, p_token bigint) returns boolean
language plpgsql
as $$
declare
  v_changed_at timestamptz;
begin
  perform signalbox.failover_at();
  select t.changed_at into v_changed_at from signalbox.timeline t where t.id = 1;
  if v_changed_at is null
    or v_changed_at + signalbox.ms(signalbox.lost_ttl_ms(p_queue, v_changed_at)) <= signalbox.clock() then
    return false;
  end if;
  return p_token > case when p_line.wide then p_line.newest_token
    else coalesce((select max(l.fencing_token) from signalbox.leases l
      where l.queue = p_queue and l.acquired_at < v_changed_at), 0) end;
end $$;
