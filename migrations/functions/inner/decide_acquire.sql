-- One acquire, under the line's lock. The row with p_item answers it; the others tell what it did to other claims.
create or replace function signalbox.decide_acquire(
  p_line signalbox.lines, p_item integer, p_claim_id text, p_holder text, p_priority integer, p_ttl_ms integer,
  p_mode text, p_labels jsonb, p_metadata jsonb, p_listen_ms integer, p_fresh boolean
) returns setof signalbox_v1.decision
language plpgsql
as $$
declare
  v_queue text := p_line.queue;
  v_settings signalbox.queues;
  v_lease signalbox.leases;
  v_claim signalbox.waiting;
  v_queued signalbox.delayed;
  v_other signalbox.waiting;
  v_slots record;
  v_ended jsonb;
  v_counts signalbox.lines;   -- the line as earlier operations of this batch have left it
  v_waiting integer;
  v_is_in_inbox boolean;
  v_has_ended boolean;
  v_since timestamptz;
  v_moved signalbox_v1.decision;
  v_answer signalbox_v1.decision := (p_item, 'waiting', v_queue, p_claim_id, null);
begin
  select * into v_settings from signalbox.queues q where q.queue = v_queue;
  select * into v_counts from signalbox.lines n where n.queue = v_queue;
  if not p_fresh then
    v_lease := signalbox.find_lease(p_line, p_claim_id);
    if v_lease.state = 'held' and v_lease.expires_at <= signalbox.clock() then
      return query select * from signalbox.advance_line(v_queue) d where d.claim_id is distinct from p_claim_id;
      v_lease := signalbox.find_lease(p_line, p_claim_id);
      select * into v_counts from signalbox.lines n where n.queue = v_queue;
      if v_lease.state = 'held' and v_lease.expires_at <= signalbox.clock() then
        -- Somebody renews it right now: neither held nor over. Asked again, it is one or the other.
        v_answer.code := 'line_busy';
        return next v_answer;
        return;
      end if;
    end if;
    if v_lease.state = 'held' then
      if v_lease.holder <> p_holder then
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
      v_queued := signalbox.find_queued(v_queue, p_claim_id);
    end if;
    if v_queued.queue is not null then
      if v_queued.kind = 'run' or v_queued.holder <> p_holder then
        v_answer.code := 'claim_id_reused';
        return next v_answer;
        return;
      end if;
      -- A row that is locked now is being heard by somebody else; a decision never waits for that (see forget_heard).
      update signalbox.heard h
        set heard_at = signalbox.clock(), listens_until = signalbox.clock() + signalbox.ms(p_listen_ms)
        where h.ctid = (select g.ctid from signalbox.heard g where g.queue = v_queue and g.claim_id = p_claim_id
                        for no key update skip locked);
      v_answer.body := signalbox.waiting_body(v_queued);
      for v_moved in select * from signalbox.advance_line(v_queue) loop
        if v_moved.claim_id = p_claim_id then
          -- Whoever asks is heard: what it is told here is a full lease, not an offer.
          v_answer.code := v_moved.code;
          v_answer.body := signalbox.lease_body(signalbox.accept_offer(signalbox.find_lease(p_line, p_claim_id)));
        else
          return next v_moved;
        end if;
      end loop;
      return next v_answer;
      return;
    end if;
    -- Looked for by a fixed time, so that only the days of history that it lies in are opened.
    v_since := signalbox.clock() - signalbox.ms(v_settings.claim_memory_ms);
    select exists (select from signalbox.inbox b where b.claim_id = p_claim_id and b.queue = v_queue limit 1),
        exists (select from signalbox.history h
          where h.queue = v_queue and h.claim_id = p_claim_id and h.final and h.ended_at > v_since limit 1)
      into v_is_in_inbox, v_has_ended;
    if v_is_in_inbox or v_counts.dead > 0
      and (select 1 from signalbox.dead_letters x where x.queue = v_queue and x.claim_id = p_claim_id) is not null then
      v_answer.code := 'claim_id_reused';
      return next v_answer;
      return;
    end if;
    if v_lease.state = 'free' and v_lease.end_state <> 'waiting' and v_lease.ended_at > v_since then
      v_ended := signalbox.ended_lease_body(v_lease);
    elsif v_has_ended then
      v_ended := signalbox.ended_claim(v_queue, p_claim_id, v_settings.claim_memory_ms);
    end if;
    if v_ended is not null then
      v_answer.code := 'claim_ended';
      v_answer.body := v_ended;
      return next v_answer;
      return;
    end if;
  end if;

  if coalesce(p_ttl_ms, v_settings.default_ttl_ms) > v_settings.max_ttl_ms then
    v_answer.code := 'ttl_too_long';
    v_answer.body := jsonb_build_object('max_ttl_ms', v_settings.max_ttl_ms);
    return next v_answer;
    return;
  end if;
  if p_mode = 'latest_only' then
    -- What is refused ends nobody: enough must go for this claim to have room behind those that stay.
    select n.waiting - (select count(*) from signalbox.waiting w
        where w.queue = v_queue and w.kind = 'claim' and w.mode = 'latest_only' and w.priority <= p_priority)
      into v_waiting from signalbox.lines n where n.queue = v_queue;
    if v_waiting > 0 and v_waiting >= v_settings.max_waiting then
      v_answer.code := 'queue_full';
      v_answer.body := jsonb_build_object('max_waiting', v_settings.max_waiting);
      return next v_answer;
      return;
    end if;
    for v_other in
      select * from signalbox.waiting w
      where w.queue = v_queue and w.kind = 'claim' and w.mode = 'latest_only' and w.priority <= p_priority
    loop
      perform signalbox.end_waiting(signalbox.in_line(v_other), 'superseded', 'superseded', p_detail => p_claim_id);
      return next (null, 'ended', v_queue, v_other.claim_id,
        signalbox.ended_claim(v_queue, v_other.claim_id, v_settings.claim_memory_ms))::signalbox_v1.decision;
    end loop;
  end if;

  v_slots := signalbox.count_slots(p_line);
  if p_mode = 'latest_only' then
    select * into v_counts from signalbox.lines n where n.queue = v_queue;
  end if;
  if v_slots.expired > 0 then
    -- The line comes first; what it leaves is for this claim.
    return query select * from signalbox.advance_line(v_queue);
    v_slots := signalbox.count_slots(p_line);
    select * into v_counts from signalbox.lines n where n.queue = v_queue;
  end if;
  v_waiting := v_counts.waiting;
  v_claim := (v_queue, p_claim_id, 'claim', 0, p_priority, p_mode, p_holder,
    coalesce(p_ttl_ms, v_settings.default_ttl_ms), 0, coalesce(p_labels, '{}'), coalesce(p_metadata, '{}'),
    signalbox.clock(), 0)::signalbox.waiting;
  if v_waiting = 0 and not p_line.paused and p_line.concurrency_limit is distinct from 0
    and (p_line.concurrency_limit is null or v_slots.taken < p_line.concurrency_limit) then
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
  if p_mode = 'skip_if_busy' then
    v_answer.code := 'queue_busy';
    v_answer.body := jsonb_build_object('waiting_for',
      signalbox.waiting_for(p_line, case when v_waiting > 0 then 2 else 1 end, v_slots.taken, 0));
    return next v_answer;
    return;
  end if;
  if v_waiting >= v_settings.max_waiting then
    v_answer.code := 'queue_full';
    v_answer.body := jsonb_build_object('max_waiting', v_settings.max_waiting);
    return next v_answer;
    return;
  end if;
  v_claim.seq := v_counts.next_seq;
  with counted as (
    update signalbox.lines n set waiting = n.waiting + 1, next_seq = n.next_seq + 1 where n.queue = v_queue),
  waits as (insert into signalbox.waiting select v_claim.*),
  heard as (
    insert into signalbox.heard (queue, claim_id, heard_at, listens_until)
      values (v_queue, p_claim_id, v_claim.enqueued_at, v_claim.enqueued_at + signalbox.ms(p_listen_ms))
      on conflict (queue, claim_id) do update set heard_at = excluded.heard_at, listens_until = excluded.listens_until)
  insert into signalbox.events (at, type, queue, claim_id, data)
    values (v_claim.enqueued_at, 'claim.queued', v_queue, p_claim_id,
      jsonb_build_object('holder', p_holder, 'priority', p_priority));
  v_answer.body := signalbox.waiting_body(signalbox.in_line(v_claim));
  -- Where every place is taken, as just counted, and nothing is due, the line cannot move.
  if v_slots.taken < p_line.concurrency_limit or p_line.concurrency_limit is null or p_line.paused
    or v_counts.next_due_at <= signalbox.clock() then
    for v_moved in select * from signalbox.advance_line(v_queue) loop
      if v_moved.claim_id = p_claim_id then
        v_answer.code := v_moved.code;
        v_answer.body := signalbox.lease_body(signalbox.accept_offer(signalbox.find_lease(p_line, p_claim_id)));
      else
        return next v_moved;
      end if;
    end loop;
  end if;
  return next v_answer;
end $$;
