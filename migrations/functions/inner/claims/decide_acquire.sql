-- One acquire, under the line's lock. The row with p_item answers it; the others tell what it did to other claims.
create or replace function signalbox.decide_acquire(
  p_line signalbox.lines, p_item integer, p_operation signalbox.operation
) returns setof signalbox_v1.decision
language plpgsql
as $$
declare
  v_queue text := p_line.queue;
  v_mode text := coalesce(p_operation.mode, 'wait');
  v_settings signalbox.queues;
  v_lease signalbox.leases;
  v_claim signalbox.waiting;
  v_slots record;
  v_counts signalbox.lines;   -- the line as earlier operations of this batch have left it
  v_moved signalbox_v1.decision;
  v_is_answered boolean := false;
  v_quarantine_end timestamptz := signalbox.quarantine_end(p_line.queue, signalbox.failover_at());
  v_answer signalbox_v1.decision := (p_item, 'waiting', v_queue, p_operation.claim_id, null);
begin
  select * into v_settings from signalbox.queues q where q.queue = v_queue;
  if p_operation.fresh is not true then
    for v_moved in select * from signalbox.answer_known(p_line, v_settings, p_item, p_operation) loop
      v_is_answered := v_is_answered or v_moved.item is not null;
      return next v_moved;
    end loop;
    if v_is_answered then
      return;
    end if;
  end if;
  if p_operation.also is not null then
    return query select * from signalbox.acquire_several(p_line, p_item, p_operation);
    return;
  end if;
  v_moved := signalbox.refuse_newcomer(p_line, v_settings, p_item, p_operation);
  if v_moved.code is not null then
    return next v_moved;
    return;
  end if;
  v_claim := (v_queue, p_operation.claim_id, 'claim', 0, coalesce(p_operation.priority, 0), v_mode, p_operation.holder,
    coalesce(p_operation.ttl_ms, v_settings.default_ttl_ms), 0, coalesce(p_operation.labels, '{}'),
    coalesce(p_operation.metadata, '{}'), signalbox.clock(), 0, 0, 0, coalesce(p_operation.weight, 1), null,
    signalbox.clock() + signalbox.ms(least(p_operation.max_wait_ms, v_settings.max_wait_ms)))::signalbox.waiting;
  if v_mode = 'latest_only' then
    for v_moved in select * from signalbox.supersede_older(p_line, v_settings, p_item, v_claim, p_operation) loop
      v_is_answered := v_is_answered or v_moved.item is not null;
      return next v_moved;
    end loop;
    if v_is_answered then
      return;
    end if;
  end if;

  v_slots := signalbox.count_slots(p_line);
  if v_slots.expired > 0 or p_line.wide and v_slots.taken < p_line.concurrency_limit
    and v_slots.taken + least(v_claim.weight, p_line.concurrency_limit) > p_line.concurrency_limit then
    -- The line comes first; what it leaves is for this claim. (A wide queue counts what ran out only when it is full.)
    return query select * from signalbox.advance_line(v_queue);
    v_slots := signalbox.count_slots(p_line);
  end if;
  select * into v_counts from signalbox.lines n where n.queue = v_queue;
  if v_quarantine_end is null and (v_counts.waiting = 0 or v_counts.several > 0 and signalbox.has_room(v_counts, v_claim.weight))
    and not p_line.paused and p_line.concurrency_limit is distinct from 0
    and (p_line.concurrency_limit is null
      or v_slots.taken + least(v_claim.weight, p_line.concurrency_limit) <= p_line.concurrency_limit) then
    v_claim := signalbox.place_granted(v_counts, v_settings, v_claim, p_operation);
    perform signalbox.ask_older(p_line, v_settings, v_claim);
    -- It never stood in line: it was asked for when it was granted.
    v_claim.enqueued_at := null;
    v_lease := signalbox.grant_slot(p_line, v_claim, v_slots.free_slot, v_slots.top_slot, v_slots.newest_token, true,
      v_settings.max_hold_ms);
    v_answer.code := 'granted';
    v_answer.body := signalbox.grant_body(v_lease.slot, v_lease.fencing_token, v_lease.ttl_ms,
      signalbox.ms_until(v_lease.expires_at, v_lease.acquired_at), signalbox.rfc3339(v_lease.acquired_at));
    return next v_answer;
    return;
  end if;
  if v_quarantine_end is not null and not p_line.paused and p_line.concurrency_limit is distinct from 0
    and (v_mode = 'skip_if_busy' or v_settings.max_waiting = 0) then
    return next signalbox.quarantined_decision(p_item, v_queue, p_operation.claim_id, v_quarantine_end);
    return;
  end if;
  if v_mode = 'skip_if_busy' then
    v_answer.code := 'queue_busy';
    v_answer.body := jsonb_build_object('waiting_for',
      signalbox.newcomer_waits_for(v_counts, v_settings, v_counts.waiting = 0));
    return next v_answer;
    return;
  end if;
  for v_moved in select * from signalbox.make_room(p_line, v_settings, p_item, v_claim, p_operation) loop
    v_is_answered := v_is_answered or v_moved.item is not null;
    return next v_moved;
  end loop;
  if v_is_answered then
    return;
  end if;
  perform signalbox.ask_older(p_line, v_settings, v_claim);
  v_claim := signalbox.join_line(v_counts, v_settings, v_claim, p_operation,
    v_quarantine_end is not null);
  v_answer.body := signalbox.waiting_body(signalbox.in_line(v_claim));
  -- Where every place is taken, as just counted, and nothing is due, the line cannot move.
  if v_slots.taken < p_line.concurrency_limit or p_line.concurrency_limit is null or p_line.paused
    or v_counts.next_due_at <= signalbox.clock() then
    for v_moved in select * from signalbox.advance_line(v_queue) loop
      if v_moved.claim_id = p_operation.claim_id and v_moved.queue = v_queue then
        v_answer.code := v_moved.code;
        v_answer.body := signalbox.lease_body(signalbox.accept_offer(signalbox.find_lease(p_line, p_operation.claim_id)));
      else
        return next v_moved;
      end if;
    end loop;
  end if;
  return next v_answer;
end $$;
