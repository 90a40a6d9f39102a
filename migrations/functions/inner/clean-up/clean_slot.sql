-- Gives a dirty slot to a cleaner, under the line's lock: it goes on counting as taken. previous tells whose it was, however
-- many cleaners have failed since; attempt is which of them this one is.
create or replace function signalbox.clean_slot(
  p_line signalbox.lines, p_slot integer, p_holder text, p_ttl_ms integer, p_max_hold_ms bigint, p_newest_token bigint
) returns signalbox.leases
language plpgsql
as $$
declare
  v_now timestamptz := signalbox.clock();
  v_hold_until timestamptz := v_now + signalbox.ms(p_max_hold_ms);
  v_lease signalbox.leases;
begin
  update signalbox.leases l set
      state = 'held', kind = 'cleaning', claim_id = 'cleaning:' || gen_random_uuid(), holder = p_holder,
      fencing_token = greatest(p_newest_token + 1, signalbox.token_floor()), ttl_ms = p_ttl_ms, priority = 0, mode = 'wait',
      seq = 0, place = 0, rank = 0, lapsed_offers = 0, offered = false, release_requested = false, labels = '{}',
      metadata = '{}', enqueued_at = l.ended_at, acquired_at = v_now, renewed_at = v_now,
      expires_at = least(v_hold_until, v_now + signalbox.ms(p_ttl_ms)), hold_until = v_hold_until, ended_at = null,
      end_state = null, end_reason = null, outcome = null, free_after = null, next_free = null, joint = null,
      wait_until = null, rests_until = null, attempt = case when l.kind = 'cleaning' then l.attempt + 1 else 1 end,
      previous = coalesce(l.previous, jsonb_build_object('claim_id', l.claim_id, 'kind', l.kind, 'holder', l.holder,
        'fencing_token', l.fencing_token, 'state', l.end_state, 'reason', l.end_reason, 'outcome', l.outcome,
        'ended_at', signalbox.rfc3339(l.ended_at), 'labels', l.labels, 'metadata', l.metadata))
    where l.queue = p_line.queue and l.slot = p_slot and l.state = 'free' and l.free_after = 'infinity'
    returning * into v_lease;
  if not found then
    raise exception 'signalbox: slot % of % is not dirty', p_slot, p_line.queue using errcode = 'SB002';
  end if;
  if p_line.wide then
    insert into signalbox.wide_slots (queue, claim_id, slot) values (p_line.queue, v_lease.claim_id, v_lease.slot);
  end if;
  update signalbox.lines n
    set dirty = n.dirty - 1, newest_token = case when n.wide then v_lease.fencing_token else n.newest_token end
    where n.queue = p_line.queue;
  perform signalbox.record_event('lease.granted', p_line.queue, v_lease.claim_id, jsonb_build_object(
    'holder', v_lease.holder, 'slot', v_lease.slot, 'fencing_token', v_lease.fencing_token, 'offered', false, 'kind',
    'cleaning', 'attempt', v_lease.attempt));
  return v_lease;
end $$;
