-- What is left to do when the grant of a run is over: nobody holds it any more, and if the run itself is over its payload
-- goes, or is kept as a dead letter.
create or replace function signalbox.end_run(
  p_line signalbox.lines, p_lease signalbox.leases, p_state text, p_reason text, p_outcome text, p_error text
) returns void
language plpgsql
as $$
declare
  v_stops boolean;
begin
  delete from signalbox.taken t
    where t.holder = p_lease.holder and t.queue = p_lease.queue and t.slot = p_lease.slot;
  if p_state = 'waiting' then
    return;
  end if;
  if p_state <> 'dead' and p_outcome is distinct from 'failure' then
    delete from signalbox.runs r where r.queue = p_lease.queue and r.claim_id = p_lease.claim_id;
    return;
  end if;
  select signalbox.failure_policy(p_line.concurrency_limit, q.on_failure) = 'stop' into v_stops
    from signalbox.queues q where q.queue = p_lease.queue;
  perform signalbox.bury((p_lease.queue, p_lease.claim_id, 'run', p_lease.seq, p_lease.priority, p_lease.mode, '',
      p_lease.ttl_ms, 0, p_lease.labels, p_lease.metadata, p_lease.enqueued_at, p_lease.attempt, null,
      false, p_lease.place, p_lease.rank, 1, null, null)::signalbox.delayed,
    case when p_state = 'dead' then p_reason else 'failure' end, p_outcome, p_error, p_lease.holder, v_stops);
end $$;
