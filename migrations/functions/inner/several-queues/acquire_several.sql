-- The acquire of a new claim on several queues, under the lock of its own line. The other lines are locked too if nobody has
-- them, else the answer is line_busy. Granted in all of them, or a place in every line, or refused as a whole: then nothing is
-- left behind, and the answer names the queue that refuses.
create or replace function signalbox.acquire_several(
  p_line signalbox.lines, p_item integer, p_operation signalbox.operation
) returns setof signalbox_v1.decision
language plpgsql
as $$
declare
  v_claim_id text := p_operation.claim_id;
  v_joint jsonb := signalbox.joint_of(p_line.queue, coalesce(p_operation.weight, 1), p_operation.also);
  v_queues text[] := signalbox.queues_of(v_joint);
  -- Its own queue is asked first.
  v_order text[] := p_line.queue || array_remove(v_queues, p_line.queue);
  v_operation signalbox.operation := p_operation;
  v_queue text;
  v_missing text;
  v_line signalbox.lines;
  v_settings signalbox.queues;
  v_claim signalbox.waiting;
  v_lease signalbox.leases;
  v_slots record;
  v_weight integer;
  v_moved signalbox_v1.decision;
  v_made signalbox_v1.decision[] := '{}';
  v_full signalbox_v1.decision;
  v_has_room boolean := true;
  v_places jsonb := '[]';
  v_now timestamptz;
  v_quarantine_end timestamptz;
begin
  if cardinality(signalbox.lock_lines(v_order[2:])) < cardinality(v_order) - 1 then
    select o.queue into v_missing from unnest(v_order[2:]) o(queue)
      where not exists (select from signalbox.lines n where n.queue = o.queue) limit 1;
    return next (p_item, case when v_missing is null then 'line_busy' else 'queue_not_found' end,
      coalesce(v_missing, p_line.queue), v_claim_id, null)::signalbox_v1.decision;
    return;
  end if;

  select coalesce(p_operation.ttl_ms, q.default_ttl_ms) into v_operation.ttl_ms
    from signalbox.queues q where q.queue = p_line.queue;
  foreach v_queue in array v_order loop
    select * into v_line from signalbox.lines n where n.queue = v_queue;
    select * into v_settings from signalbox.queues q where q.queue = v_queue;
    v_moved := signalbox.refuse_newcomer(v_line, v_settings, p_item, v_operation);
    if v_moved.code is null and v_queue <> p_line.queue and signalbox.knows(v_line, v_claim_id) then
      v_moved := (p_item, 'claim_id_reused', v_queue, v_claim_id, null)::signalbox_v1.decision;
    end if;
    if v_moved.code is not null then
      return next v_moved;
      return;
    end if;
    v_operation.max_wait_ms := least(v_operation.max_wait_ms, v_settings.max_wait_ms);
  end loop;
  foreach v_queue in array v_order loop
    select * into v_line from signalbox.lines n where n.queue = v_queue;
    v_slots := signalbox.count_slots(v_line);
    v_weight := signalbox.weight_in(v_joint, v_queue);
    if v_slots.expired > 0 or exists (select from signalbox.loose_ends e where e.queue = v_queue)
      or v_line.wide and v_slots.taken < v_line.concurrency_limit
        and v_slots.taken + least(v_weight, v_line.concurrency_limit) > v_line.concurrency_limit then
      -- The line comes first; what it leaves is for this claim. (A wide queue counts what ran out only when it is full.)
      return query select * from signalbox.advance_line(v_queue);
    end if;
  end loop;

  v_now := signalbox.clock();
  foreach v_queue in array v_order loop
    select * into v_line from signalbox.lines n where n.queue = v_queue;
    if not signalbox.has_room(v_line, signalbox.weight_in(v_joint, v_queue)) then
      v_has_room := false;
      exit;
    end if;
  end loop;
  if not v_has_room then
    select * into v_settings from signalbox.queues q where q.queue = v_queue;
    v_quarantine_end := signalbox.quarantine_end(v_queue, signalbox.failover_at());
    if v_quarantine_end is not null and (p_operation.mode = 'skip_if_busy' or v_settings.max_waiting = 0) then
      return next signalbox.quarantined_decision(p_item, v_queue, v_claim_id, v_quarantine_end);
      return;
    end if;
  end if;
  if not v_has_room and p_operation.mode = 'skip_if_busy' then
    return next (p_item, 'queue_busy', v_queue, v_claim_id, jsonb_build_object('waiting_for',
      signalbox.newcomer_waits_for(v_line, v_settings, v_line.waiting = 0)))::signalbox_v1.decision;
    return;
  end if;
  -- Whoever has to make room for it in one line stays if another line refuses it.
  begin
    foreach v_queue in array v_order loop
      select * into v_line from signalbox.lines n where n.queue = v_queue;
      select * into v_settings from signalbox.queues q where q.queue = v_queue;
      v_claim := (v_queue, v_claim_id, 'claim', 0, coalesce(p_operation.priority, 0), coalesce(p_operation.mode, 'wait'),
        p_operation.holder, v_operation.ttl_ms, 0, coalesce(p_operation.labels, '{}'),
        coalesce(p_operation.metadata, '{}'), v_now, 0, 0, 0, signalbox.weight_in(v_joint, v_queue), v_joint,
        case when v_queue = p_line.queue then v_now + signalbox.ms(v_operation.max_wait_ms) end)::signalbox.waiting;
      if v_has_room then
        v_claim := signalbox.place_granted(v_line, v_settings, v_claim, p_operation);
        v_slots := signalbox.count_slots(v_line);
        v_lease := signalbox.grant_slot(v_line, v_claim, v_slots.free_slot, v_slots.top_slot, v_slots.newest_token, true,
          v_settings.max_hold_ms);
        v_places := v_places || signalbox.place_body(v_lease);
      else
        for v_moved in select * from signalbox.make_room(v_line, v_settings, p_item, v_claim, p_operation) loop
          if v_moved.item is not null then
            v_full := v_moved;
            raise exception 'signalbox: no room in %', v_queue using errcode = 'SB003';
          end if;
          v_made := v_made || v_moved;
        end loop;
        perform signalbox.join_line(v_line, v_settings, v_claim, p_operation);
      end if;
    end loop;
  exception when sqlstate 'SB003' then
    return next v_full;
    return;
  end;
  return query select * from unnest(v_made);
  if v_has_room then
    v_lease := signalbox.link_places(v_joint, v_places);
    return next (p_item, 'held', p_line.queue, v_claim_id, signalbox.lease_body(v_lease))::signalbox_v1.decision;
  else
    return next (p_item, 'waiting', p_line.queue, v_claim_id,
      signalbox.waiting_body(signalbox.find_queued(p_line.queue, v_claim_id)))::signalbox_v1.decision;
  end if;
end $$;
