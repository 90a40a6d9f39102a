-- Ends one grant whose row this transaction has locked, or decides about under the line's lock: frees the slot (token
-- and claim stay in the row), writes history and the event in the same commit. p_state 'waiting' ends the grant alone:
-- whoever calls puts the claim back. A run that ends is forgotten, or kept as a dead letter if it died or failed.
create or replace function signalbox.end_lease(
  p_line signalbox.lines, p_lease signalbox.leases, p_state text, p_reason text,
  p_outcome text default null, p_lock_delay_ms integer default 0, p_actor text default null, p_detail text default null,
  p_error text default null, p_due_at timestamptz default null
) returns signalbox.leases
language plpgsql
as $$
declare
  v_lease signalbox.leases;
  v_now timestamptz := signalbox.clock();
  v_free_after timestamptz := case when p_lock_delay_ms > 0
    then least(v_now, p_lease.expires_at) + signalbox.ms(p_lock_delay_ms) end;
begin
  update signalbox.leases l set
      state = 'free', ended_at = v_now, end_state = p_state, end_reason = p_reason, outcome = p_outcome,
      offered = false, free_after = v_free_after,
      typical_hold_ms = signalbox.typical_hold_ms(l.typical_hold_ms, l.acquired_at, v_now),
      next_free = case when p_line.wide and v_free_after is null
        then (select n.free_head from signalbox.lines n where n.queue = p_line.queue) end
    where l.queue = p_lease.queue and l.slot = p_lease.slot and l.state = 'held'
      and l.fencing_token = p_lease.fencing_token
    returning * into v_lease;
  if not found then
    return null;
  end if;
  if p_line.wide then
    delete from signalbox.wide_slots w where w.queue = p_lease.queue and w.claim_id = p_lease.claim_id;
    if v_free_after is null then
      update signalbox.lines n set held = n.held - v_lease.weight, free_head = v_lease.slot where n.queue = p_lease.queue;
    end if;
  end if;
  insert into signalbox.history (queue, claim_id, holder, state, reason, outcome, final, slot, fencing_token, priority,
      mode, labels, metadata, enqueued_at, acquired_at, expires_at, ended_at, actor, detail, kind, attempt, error)
    values (v_lease.queue, v_lease.claim_id, v_lease.holder, p_state, p_reason, p_outcome, p_state <> 'waiting',
      v_lease.slot, v_lease.fencing_token, v_lease.priority, v_lease.mode, v_lease.labels, v_lease.metadata,
      v_lease.enqueued_at, v_lease.acquired_at, v_lease.expires_at, v_now, p_actor, p_detail, v_lease.kind,
      v_lease.attempt, p_error);
  perform signalbox.record_event(
    case when p_detail = 'offer_lapsed' and p_state = 'waiting' then 'offer.lapsed'
      when p_state = 'waiting' then 'lease.returned'
      when p_state <> 'dead' then 'lease.' || p_state
      when p_outcome is null then 'lease.expired' else 'lease.released' end,
    v_lease.queue, v_lease.claim_id,
    signalbox.labelled(jsonb_strip_nulls(jsonb_build_object('holder', v_lease.holder, 'slot', v_lease.slot, 'fencing_token',
      v_lease.fencing_token, 'reason',
      case when p_state = 'waiting' and p_outcome = 'retry' then 'retry' else p_reason end, 'outcome', p_outcome,
      'actor', p_actor, 'detail', p_detail, 'error', p_error, 'due_at', signalbox.rfc3339(p_due_at))), v_lease.labels));
  if v_lease.kind = 'run' then
    perform signalbox.end_run(p_line, v_lease, p_state, p_reason, p_outcome, p_error);
  end if;
  return v_lease;
end $$;
