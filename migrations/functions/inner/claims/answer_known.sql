-- Answers an acquire of a claim that its queue knows: held, waiting, a run, or ended and remembered. No row with p_item = it is
-- unknown (rows without item tell what happened to others on the way). Under the line's lock.
create or replace function signalbox.answer_known(
  p_line signalbox.lines, p_settings signalbox.queues, p_item integer, p_operation signalbox.operation
) returns setof signalbox_v1.decision
language plpgsql
as $$
declare
  v_queue text := p_line.queue;
  v_claim_id text := p_operation.claim_id;
  v_lease signalbox.leases;
  v_queued signalbox.delayed;
  v_ended jsonb;
  v_counts signalbox.lines;   -- the line as earlier operations of this batch have left it
  v_is_in_inbox boolean;
  v_has_ended boolean;
  v_since timestamptz;
  v_moved signalbox_v1.decision;
  v_answer signalbox_v1.decision := (p_item, 'waiting', v_queue, v_claim_id, null);
begin
  select * into v_counts from signalbox.lines n where n.queue = v_queue;
  v_lease := signalbox.find_lease(p_line, v_claim_id);
  if v_lease.state = 'held' and v_lease.expires_at <= signalbox.clock() then
    return query select * from signalbox.advance_line(v_queue) d where (d.queue, d.claim_id) is distinct from (v_queue, v_claim_id);
    v_lease := signalbox.find_lease(p_line, v_claim_id);
    select * into v_counts from signalbox.lines n where n.queue = v_queue;
    if v_lease.state = 'held' and v_lease.expires_at <= signalbox.clock() then
      -- Somebody renews it right now: neither held nor over. Asked again, it is one or the other.
      v_answer.code := 'line_busy';
      return next v_answer;
      return;
    end if;
  end if;
  if v_lease.state = 'held' and signalbox.is_elsewhere(v_lease.joint, v_queue) then
    v_answer.code := 'not_primary';
    v_answer.body := signalbox.joint_body(v_lease.joint, v_queue);
    return next v_answer;
    return;
  end if;
  if v_lease.state = 'held' then
    if v_lease.holder <> p_operation.holder or v_lease.kind = 'cleaning' then
      v_answer.code := 'claim_id_reused';
    else
      if v_lease.offered then
        v_lease := signalbox.accept_offer(v_lease);
      end if;
      v_answer.code := 'held';
      v_answer.body := signalbox.lease_body(v_lease);
    end if;
    return next v_answer;
    return;
  end if;
  if v_counts.waiting + v_counts.runs + v_counts.delayed > 0 then
    v_queued := signalbox.find_queued(v_queue, v_claim_id);
  end if;
  if v_queued.queue is not null then
    if signalbox.is_elsewhere(v_queued.joint, v_queue) then
      v_answer.code := 'not_primary';
      v_answer.body := signalbox.joint_body(v_queued.joint, v_queue);
      return next v_answer;
      return;
    end if;
    if v_queued.kind = 'run' or v_queued.holder <> p_operation.holder then
      v_answer.code := 'claim_id_reused';
      return next v_answer;
      return;
    end if;
    if v_queued.wait_until <= signalbox.clock() then
      perform signalbox.end_waiting(v_queued, 'expired', 'wait_timeout');
      return query select * from signalbox.advance_line(v_queue);
      v_answer.code := 'claim_ended';
      v_answer.body := signalbox.ended_claim(v_queue, v_claim_id, p_settings.claim_memory_ms);
      return next v_answer;
      return;
    end if;
    -- A row that is locked now is being heard by somebody else; a decision never waits for that (see forget_heard).
    update signalbox.heard h
      set heard_at = signalbox.clock(), listens_until = signalbox.clock() + signalbox.ms(coalesce(p_operation.listen_ms, 0))
      where h.ctid = (select g.ctid from signalbox.heard g where g.queue = v_queue and g.claim_id = v_claim_id
                      for no key update skip locked);
    v_answer.body := signalbox.waiting_body(v_queued);
    for v_moved in select * from signalbox.advance_line(v_queue) loop
      if v_moved.claim_id = v_claim_id and v_moved.queue = v_queue and v_moved.code = 'ended' then
        -- It has waited too long, by the time the line was served.
        v_answer.code := 'claim_ended';
        v_answer.body := v_moved.body;
      elsif v_moved.claim_id = v_claim_id and v_moved.queue = v_queue then
        -- Whoever asks is heard: what it is told here is a full lease, not an offer.
        v_answer.code := v_moved.code;
        v_answer.body := signalbox.lease_body(signalbox.accept_offer(signalbox.find_lease(p_line, v_claim_id)));
      else
        return next v_moved;
      end if;
    end loop;
    return next v_answer;
    return;
  end if;
  -- Looked for by a fixed time, so that only the days of history that it lies in are opened.
  v_since := signalbox.clock() - signalbox.ms(p_settings.claim_memory_ms);
  select exists (select from signalbox.inbox b where b.claim_id = v_claim_id and b.queue = v_queue limit 1),
      exists (select from signalbox.history h
        where h.queue = v_queue and h.claim_id = v_claim_id and h.final and h.ended_at > v_since limit 1)
    into v_is_in_inbox, v_has_ended;
  if v_is_in_inbox or v_counts.dead > 0
    and (select 1 from signalbox.dead_letters x where x.queue = v_queue and x.claim_id = v_claim_id) is not null then
    v_answer.code := 'claim_id_reused';
    return next v_answer;
    return;
  end if;
  if v_lease.state = 'free' and v_lease.end_state <> 'waiting' and v_lease.ended_at > v_since then
    v_ended := signalbox.ended_lease_body(v_lease);
  elsif v_has_ended then
    v_ended := signalbox.ended_claim(v_queue, v_claim_id, p_settings.claim_memory_ms);
  end if;
  if v_ended is not null then
    v_answer.code := 'claim_ended';
    v_answer.body := v_ended;
    return next v_answer;
    return;
  end if;
end $$;
