-- For how long, after a failover, somebody may believe in a lease of this queue that the failover lost, or in a renewal of
-- one: a lost grant was for max_ttl_ms at most, a lost renewal for what its lease was made for. Where max_ttl_ms was higher
-- before: if it was lowered since the failover, lost grants were made under the higher one.
create or replace function signalbox.lost_ttl_ms(p_queue text, p_failover_at timestamptz) returns bigint
language plpgsql stable
as $$
declare
  v_queue signalbox.queues;
begin
  select * into v_queue from signalbox.queues q where q.queue = p_queue;
  if v_queue.queue is null then
    return (signalbox.default_settings() -> 'max_ttl_ms')::bigint;
  elsif v_queue.longest_ttl_ms > v_queue.max_ttl_ms then
    return case when v_queue.ttl_lowered_at >= p_failover_at then v_queue.longest_ttl_ms
      else greatest(v_queue.max_ttl_ms, (select max(l.ttl_ms) from signalbox.leases l where l.queue = p_queue)) end;
  end if;
  return v_queue.max_ttl_ms;
end $$;
