-- Ends what is over in a line, under its lock: what claims on several queues left here, and leases whose time ran out. Says
-- what happened to whom.
create or replace function signalbox.settle_line(p_queue text, p_max integer default 100)
returns setof signalbox_v1.decision
language plpgsql
as $$
declare
  v_line signalbox.lines;
  v_lease signalbox.leases;
begin
  if exists (select from signalbox.loose_ends e where e.queue = p_queue) then
    return query select * from signalbox.tie_loose_ends(p_queue);
  end if;
  select * into v_line from signalbox.lines n where n.queue = p_queue;
  -- A wide queue looks for expired leases only when it is full.
  if (signalbox.count_slots(v_line)).expired > 0 or v_line.wide then
    for v_lease in select * from signalbox.end_expired_leases(v_line, p_max) loop
      if v_lease.queue is null then
        continue;
      elsif v_lease.end_state <> 'waiting' then
        return next (null, 'ended', v_lease.queue, v_lease.claim_id, signalbox.ended_lease_body(v_lease))::signalbox_v1.decision;
      elsif v_lease.kind = 'run' then
        return next (null, 'returned', v_lease.queue, v_lease.claim_id, null)::signalbox_v1.decision;
      elsif v_lease.joint is not null then
        return next signalbox.stir(array_remove(signalbox.queues_of(v_lease.joint), p_queue));
      end if;
      if v_lease.queue <> p_queue then
        return next signalbox.stir(array[v_lease.queue]);
      end if;
    end loop;
    if v_line.wide then
      perform signalbox.return_delayed_slots(p_queue);
    end if;
  end if;
end $$;
