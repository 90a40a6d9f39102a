-- Ends a grant and puts its claim or run back, at once or delayed: at its old place, or (retry_place last) at the one that
-- it would get if it came now, out of its batch. p_reason: released (the holder asked for a retry), expired or max_hold (its
-- time ran out), untaken (nobody began to work on it: the attempt does not count, and the place is kept). A run that has
-- used up its attempts or its age is dead instead; a claim that a newer one supersedes is superseded. Under the line's lock; the caller advances the line.
create or replace function signalbox.put_back(
  p_line signalbox.lines, p_lease signalbox.leases, p_reason text, p_delay_ms bigint default 0,
  p_outcome text default null, p_error text default null, p_lock_delay_ms integer default 0
) returns signalbox.leases
language plpgsql
as $$
declare
  v_now timestamptz := signalbox.clock();
  v_settings signalbox.queues;
  v_run signalbox.runs;
  v_claim signalbox.delayed;
  v_blockers integer;
  v_is_last boolean;  -- it goes behind all that wait, by the queue's retry_place
  v_seq bigint;
  v_rival text;
begin
  select * into v_settings from signalbox.queues q where q.queue = p_lease.queue;
  if p_lease.kind = 'run' and p_reason <> 'untaken' then
    select * into v_run from signalbox.runs r where r.queue = p_lease.queue and r.claim_id = p_lease.claim_id;
    if p_lease.attempt >= v_run.max_attempts then
      return signalbox.end_lease(p_line, p_lease, 'dead', 'max_attempts', p_outcome, p_lock_delay_ms, p_error => p_error);
    elsif v_run.dead_after <= v_now then
      return signalbox.end_lease(p_line, p_lease, 'dead', 'max_age', p_outcome, p_lock_delay_ms, p_error => p_error);
    end if;
  end if;
  v_rival := signalbox.newer_rival(v_settings, p_lease);
  if v_rival is not null then
    return signalbox.end_lease(p_line, p_lease, 'superseded', 'superseded', p_outcome, p_lock_delay_ms,
      p_detail => v_rival, p_error => p_error);
  end if;
  v_is_last := v_settings.retry_place = 'last' and p_reason <> 'untaken';
  if v_is_last then
    update signalbox.lines n set next_seq = n.next_seq + 1 where n.queue = p_lease.queue
      returning n.next_seq - 1 into v_seq;
  else
    -- A claim that was granted without ever standing in line goes before all that stand in its place, in the order of
    -- grants: tokens grow, and are far below 2^53.
    v_seq := case when p_lease.seq <> 0 then p_lease.seq else p_lease.fencing_token - 9007199254740992 end;
  end if;
  v_claim := (p_lease.queue, p_lease.claim_id, p_lease.kind,
    v_seq,
    p_lease.priority,
    -- It waits now, whatever it would have done at first.
    case p_lease.mode when 'skip_if_busy' then 'wait' else p_lease.mode end,
    case when p_lease.kind = 'claim' then p_lease.holder else '' end, p_lease.ttl_ms, 0,
    p_lease.labels, p_lease.metadata, p_lease.enqueued_at,
    p_lease.attempt - (p_reason = 'untaken')::integer,
    case when p_delay_ms > 0 then v_now + signalbox.ms(p_delay_ms) end,
    p_delay_ms > 0 and p_lease.kind = 'run'
      and signalbox.failure_policy(p_line.concurrency_limit, v_settings.on_failure) <> 'step_around',
    case when v_is_last then signalbox.place_of(p_line, v_settings, p_lease.kind, p_lease.priority, v_now, p_lease.labels)
      else p_lease.place end,
    case when v_is_last then 0 else p_lease.rank end, signalbox.asked_weight(p_lease), p_lease.joint - 'places',
    case when p_lease.kind = 'claim' then p_lease.wait_until end)::signalbox.delayed;
  if v_claim.due_at is null then
    insert into signalbox.waiting (queue, claim_id, kind, seq, priority, mode, holder, ttl_ms, lapsed_offers, labels,
        metadata, enqueued_at, attempts, place, rank, weight, joint, wait_until)
      values (v_claim.queue, v_claim.claim_id, v_claim.kind, v_claim.seq, v_claim.priority, v_claim.mode, v_claim.holder,
        v_claim.ttl_ms, 0, v_claim.labels, v_claim.metadata, v_claim.enqueued_at, v_claim.attempts,
        v_claim.place, v_claim.rank, v_claim.weight, v_claim.joint, v_claim.wait_until);
  else
    insert into signalbox.delayed select v_claim.*;
  end if;
  update signalbox.lines n set
      waiting = n.waiting + (v_claim.due_at is null and v_claim.kind = 'claim')::integer,
      runs = n.runs + (v_claim.due_at is null and v_claim.kind = 'run')::integer,
      delayed = n.delayed + (v_claim.due_at is not null)::integer,
      several = n.several + case when v_claim.due_at is null
        then signalbox.asks_several(v_claim.weight, v_claim.joint) else 0 end,
      blockers = n.blockers + v_claim.blocks::integer,
      next_due_at = least(n.next_due_at, v_claim.due_at)
    where n.queue = p_lease.queue returning n.blockers into v_blockers;
  if v_claim.kind = 'claim' then
    insert into signalbox.heard (queue, claim_id, heard_at, listens_until)
      values (v_claim.queue, v_claim.claim_id, coalesce(v_claim.due_at, v_now), v_now)
      on conflict (queue, claim_id) do nothing;
    -- A row left over from before the grant; one that is locked is being heard now (see forget_heard).
    update signalbox.heard h set heard_at = greatest(h.heard_at, v_claim.due_at, v_now)
      where h.ctid = (select g.ctid from signalbox.heard g where g.queue = v_claim.queue and g.claim_id = v_claim.claim_id
                      for no key update skip locked);
  end if;
  if v_claim.blocks and v_blockers = 1 then
    perform signalbox.record_event('queue.blocked', v_claim.queue, v_claim.claim_id,
      jsonb_build_object('reason', 'retry', 'due_at', signalbox.rfc3339(v_claim.due_at)));
  end if;
  return signalbox.end_lease(p_line, p_lease, 'waiting', p_reason, p_outcome, p_lock_delay_ms, p_error => p_error,
    p_due_at => v_claim.due_at);
end $$;
