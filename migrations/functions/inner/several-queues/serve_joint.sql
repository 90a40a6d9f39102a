-- Tries to grant a claim on several queues, met in the line of one of them (p_claim: its row there), which has room for it and
-- is locked. Its other lines are locked too if nobody has them; they are never waited for. Granted in all, or in none.
-- result: granted · blocked (another queue has no room for it) · busy (a line or row was not to be had: `stir` asks for
-- another try) · away (it does not wait now) · lost (a queue of it was deleted, so it has ended).
create or replace function signalbox.serve_joint(
  p_queue text, p_claim signalbox.waiting, out result text, out decisions signalbox_v1.decision[]
)
language plpgsql
as $$
declare
  v_primary text := p_claim.joint ->> 'primary';
  v_queues text[] := signalbox.queues_of(p_claim.joint);
  v_others text[] := array_remove(v_queues, p_queue);
  v_locked text[];
  v_claim signalbox.waiting;
  v_ticket signalbox.waiting;
  v_line signalbox.lines;
  v_lease signalbox.leases;
  v_slots record;
  v_other text;
  v_settled signalbox_v1.decision[];
  v_is_lost boolean := false;
  v_listens boolean;
  v_places jsonb := '[]';
  v_max_hold_ms bigint;
begin
  decisions := '{}';
  v_locked := signalbox.lock_lines(v_others);
  if cardinality(v_locked) < cardinality(v_others) then
    v_is_lost := exists (
      select from unnest(v_others) o(queue)
      where o.queue <> all(v_locked) and not exists (select from signalbox.lines n where n.queue = o.queue));
    if not v_is_lost or v_primary <> p_queue and v_primary <> all(v_locked) then
      decisions := array[signalbox.stir(v_queues)];
      result := 'busy';
      return;
    end if;
  else
    foreach v_other in array v_others loop
      v_settled := array(select d from signalbox.settle_line(v_other) d);
      if v_settled <> '{}' then
        -- What it leaves there is for others too.
        decisions := decisions || v_settled || signalbox.stir(array[v_other]);
      end if;
    end loop;
  end if;
  select * into v_claim from signalbox.waiting w where w.claim_id = p_claim.claim_id and w.queue = v_primary;
  if not found then
    result := 'away';
    return;
  end if;
  if not v_is_lost then
    foreach v_other in array v_others loop
      select * into v_ticket from signalbox.waiting w where w.claim_id = p_claim.claim_id and w.queue = v_other;
      if not found then
        -- Its former place there ends only now (a renewal has the row), or the queue was deleted and made anew.
        v_is_lost := not exists (
          select from signalbox.leases l where l.queue = v_other and l.claim_id = p_claim.claim_id and l.state = 'held');
        if not v_is_lost then
          decisions := decisions || signalbox.stir(v_queues);
          result := 'busy';
          return;
        end if;
        exit;
      end if;
      select * into v_line from signalbox.lines n where n.queue = v_other;
      if not signalbox.has_room(v_line, v_ticket.weight, v_ticket) then
        result := 'blocked';
        return;
      end if;
    end loop;
  end if;
  if v_is_lost then
    perform signalbox.end_waiting(signalbox.in_line(v_claim), 'broken', 'broken', p_detail => 'queue_deleted');
    select * into v_line from signalbox.lines n where n.queue = v_primary;
    decisions := decisions || (null, 'ended', v_primary, p_claim.claim_id,
      signalbox.ended_claim_now(v_line, p_claim.claim_id))::signalbox_v1.decision;
    result := 'lost';
    return;
  end if;

  select coalesce(h.listens_until > signalbox.clock(), false) into v_listens from signalbox.heard h
    where h.queue = v_primary and h.claim_id = p_claim.claim_id;
  foreach v_other in array v_queues loop
    select * into v_line from signalbox.lines n where n.queue = v_other;
    select * into v_ticket from signalbox.waiting w where w.claim_id = p_claim.claim_id and w.queue = v_other;
    select q.max_hold_ms into v_max_hold_ms from signalbox.queues q where q.queue = v_other;
    v_slots := signalbox.count_slots(v_line);
    v_lease := signalbox.serve_claim(v_line, v_ticket, v_slots.free_slot, v_slots.top_slot, v_slots.newest_token,
      v_max_hold_ms, coalesce(v_listens, false));
    v_places := v_places || signalbox.place_body(v_lease);
  end loop;
  v_lease := signalbox.link_places(p_claim.joint, v_places);
  decisions := decisions || (null, 'held', v_primary, v_lease.claim_id, signalbox.lease_body(v_lease))::signalbox_v1.decision;
  result := 'granted';
end $$;
