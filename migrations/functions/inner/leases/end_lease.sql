-- Ends one grant whose row this transaction has locked, or decides about under the line's lock: frees the slot (token
-- and claim stay in the row), writes history and the event in the same commit. p_state 'waiting' ends the grant alone:
-- whoever calls puts the claim back. A run that ends is forgotten, or kept as a dead letter if it died or failed. With clean-up
-- the slot is dirty then, unless nobody ever knew that they had it, or it was a cleaner who says that it is clean.
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
  v_soils boolean := p_line.cleanup and case
    when p_lease.kind = 'cleaning' then p_state <> 'released' or coalesce(p_outcome, 'success') <> 'success'
    else p_reason <> 'untaken' end;
begin
  update signalbox.leases l set
      state = 'free', ended_at = v_now, end_state = p_state, end_reason = p_reason, outcome = p_outcome,
      offered = false,
      -- Whether it is still an offer says the row, not what was read of it before: it may have been accepted since.
      free_after = case when v_soils and not l.offered then 'infinity' else v_free_after end,
      rests_until = case when v_soils and not l.offered then v_free_after end,
      previous = case when v_soils then l.previous end,
      typical_hold_ms = case when l.kind = 'cleaning' then l.typical_hold_ms
        else signalbox.typical_hold_ms(l.typical_hold_ms, l.acquired_at, v_now) end,
      next_free = case when p_line.wide and v_free_after is null and (l.offered or not v_soils)
        then (select n.free_head from signalbox.lines n where n.queue = p_line.queue) end
    where l.queue = p_lease.queue and l.slot = p_lease.slot and l.state = 'held'
      and l.fencing_token = p_lease.fencing_token
    returning * into v_lease;
  if not found then
    return null;
  end if;
  if p_line.wide then
    delete from signalbox.wide_slots w where w.queue = p_lease.queue and w.claim_id = p_lease.claim_id;
    if v_lease.free_after is null then
      update signalbox.lines n set held = n.held - v_lease.weight, free_head = v_lease.slot where n.queue = p_lease.queue;
    end if;
  end if;
  insert into signalbox.history (queue, claim_id, holder, state, reason, outcome, final, slot, fencing_token, priority,
      mode, labels, metadata, enqueued_at, acquired_at, expires_at, ended_at, actor, detail, kind, attempt, error, joint)
    values (v_lease.queue, v_lease.claim_id, v_lease.holder, p_state, p_reason, p_outcome, p_state <> 'waiting',
      v_lease.slot, v_lease.fencing_token, v_lease.priority, v_lease.mode, v_lease.labels, v_lease.metadata,
      v_lease.enqueued_at, v_lease.acquired_at, v_lease.expires_at, v_now, p_actor, p_detail, v_lease.kind,
      v_lease.attempt, p_error, v_lease.joint);
  perform signalbox.record_event(
    case when p_detail = 'offer_lapsed' and p_state = 'waiting' then 'offer.lapsed'
      when p_state = 'waiting' then 'lease.returned'
      when p_state <> 'dead' then 'lease.' || p_state
      when p_outcome is null then 'lease.expired' else 'lease.released' end,
    v_lease.queue, v_lease.claim_id,
    signalbox.labelled(jsonb_strip_nulls(jsonb_build_object('holder', v_lease.holder, 'slot', v_lease.slot, 'fencing_token',
      v_lease.fencing_token, 'reason',
      case when p_state = 'waiting' and p_outcome = 'retry' then 'retry' else p_reason end, 'outcome', p_outcome,
      'actor', p_actor, 'detail', p_detail, 'error', p_error, 'due_at', signalbox.rfc3339(p_due_at),
      'kind', case when v_lease.kind = 'cleaning' then v_lease.kind end)), v_lease.labels));
  if v_lease.free_after = 'infinity' then
    update signalbox.lines n set dirty = n.dirty + 1 where n.queue = p_lease.queue;
    perform signalbox.record_event('slot.dirty', v_lease.queue, v_lease.claim_id, signalbox.labelled(jsonb_build_object(
      'slot', v_lease.slot, 'fencing_token', v_lease.fencing_token,
      'attempts', case when v_lease.kind = 'cleaning' then v_lease.attempt else 0 end), v_lease.labels));
  elsif v_lease.kind = 'cleaning' and p_line.cleanup then
    perform signalbox.record_event('slot.cleaned', v_lease.queue, v_lease.claim_id, jsonb_build_object('slot', v_lease.slot,
      'fencing_token', v_lease.fencing_token, 'attempts', v_lease.attempt, 'holder', v_lease.holder));
  end if;
  if v_lease.kind = 'run' then
    perform signalbox.end_run(p_line, v_lease, p_state, p_reason, p_outcome, p_error);
  end if;
  if v_lease.joint ->> 'primary' = v_lease.queue then
    perform signalbox.end_places(v_lease, p_state, p_reason, p_outcome, p_actor, p_detail, p_error);
  end if;
  return v_lease;
end $$;
