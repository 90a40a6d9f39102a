-- Ends leases of the queue whose time has run out. Statement 1 locks them (one that is being renewed right now is
-- skipped and stays held), statement 2 decides from the locked rows alone. An offer that lapses for the first time puts
-- its claim back at its old place.
create or replace function signalbox.end_expired_leases(
  p_line signalbox.lines, p_max integer default 100, p_slot integer default null
)
returns setof signalbox.leases
language plpgsql
as $$
declare
  v_slots integer[];
  v_lease signalbox.leases;
  v_lock_delay_ms integer;
  v_settings signalbox.queues;
  v_rival text;
  v_primary signalbox.lines;
begin
  select array_agg(s.slot) into v_slots from (
    select l.slot from signalbox.leases l
    where l.queue = p_line.queue and l.state = 'held' and l.expires_at <= signalbox.clock()
      and (p_slot is null or l.slot = p_slot)
    order by l.slot limit p_max for no key update skip locked) s;
  if v_slots is null then
    return;
  end if;
  select * into v_settings from signalbox.queues q where q.queue = p_line.queue;
  v_lock_delay_ms := v_settings.lock_delay_ms;
  for v_lease in
    select * from signalbox.leases l where l.queue = p_line.queue and l.slot = any(v_slots) order by l.slot
  loop
    if signalbox.is_elsewhere(v_lease.joint, p_line.queue) then
      -- It ends with its claim, if that line can be had: all of its places are over, and go together.
      v_primary := null;
      if v_lease.joint ->> 'primary' = any(signalbox.lock_lines(array[v_lease.joint ->> 'primary'])) then
        select * into v_primary from signalbox.lines n where n.queue = v_lease.joint ->> 'primary';
        return query select * from signalbox.end_expired_leases(v_primary, p_max, (
          select x.slot from jsonb_to_recordset(v_lease.joint -> 'places') as x(queue text, slot integer)
          where x.queue = v_primary.queue));
      end if;
      continue when not exists (
        select from signalbox.leases l
        where l.queue = v_lease.queue and l.slot = v_lease.slot and l.state = 'held'
          and l.fencing_token = v_lease.fencing_token);
      -- Else it ends by itself. What becomes of the claim is decided in its own queue: until then it has a ticket here, which
      -- end_places takes away if the claim is over.
      perform signalbox.leave_ticket(v_lease);
      return next signalbox.end_lease(p_line, v_lease, 'waiting',
        case when v_lease.hold_until <= v_lease.expires_at then 'max_hold' else 'expired' end,
        p_lock_delay_ms => case when v_lease.offered then 0 else v_lock_delay_ms end,
        p_detail => case when v_lease.offered then 'offer_lapsed' end);
      continue;
    end if;
    if v_lease.kind = 'run' then
      -- Its taker died, or hangs: others may try at once, as far as its attempts and the lock delay allow.
      return next signalbox.put_back(p_line, v_lease,
        case when v_lease.hold_until <= v_lease.expires_at then 'max_hold' else 'expired' end,
        p_lock_delay_ms => v_lock_delay_ms);
    elsif v_lease.offered and v_lease.lapsed_offers = 0 then
      v_rival := signalbox.newer_rival(v_settings, v_lease);
      if v_rival is not null then
        return next signalbox.end_lease(p_line, v_lease, 'superseded', 'superseded', p_detail => v_rival);
        continue;
      end if;
      insert into signalbox.waiting (queue, claim_id, seq, priority, mode, holder, ttl_ms, lapsed_offers, labels,
          metadata, enqueued_at, attempts, place, rank, weight, joint, wait_until)
        values (v_lease.queue, v_lease.claim_id, v_lease.seq, v_lease.priority, v_lease.mode, v_lease.holder,
          v_lease.ttl_ms, 1, v_lease.labels, v_lease.metadata, v_lease.enqueued_at, v_lease.attempt - 1, v_lease.place,
          v_lease.rank, signalbox.asked_weight(v_lease), v_lease.joint - 'places', v_lease.wait_until);
      insert into signalbox.heard (queue, claim_id, heard_at, listens_until)
        values (v_lease.queue, v_lease.claim_id, v_lease.acquired_at, v_lease.acquired_at)
        on conflict (queue, claim_id) do nothing;
      update signalbox.lines n set waiting = n.waiting + 1, several = n.several
          + signalbox.asks_several(signalbox.asked_weight(v_lease), v_lease.joint)
        where n.queue = v_lease.queue;
      return next signalbox.end_lease(p_line, v_lease, 'waiting', 'expired', p_detail => 'offer_lapsed');
    else
      return next signalbox.end_lease(p_line, v_lease, 'expired',
        case when v_lease.hold_until <= v_lease.expires_at then 'max_hold' else 'expired' end,
        p_lock_delay_ms => case when v_lease.offered then 0 else v_lock_delay_ms end,
        p_detail => case when v_lease.offered then 'offer_lapsed' end);
    end if;
  end loop;
end $$;
