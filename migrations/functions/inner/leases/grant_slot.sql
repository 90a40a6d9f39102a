-- Gives one place of the queue to the claim. Call it only with the line locked by an earlier statement, and only when
-- count_slots, called after that lock, shows room. A grant that nobody listens for is an offer of at most 10 s. A claim
-- without enqueued_at never stood in line.
create or replace function signalbox.grant_slot(
  p_line signalbox.lines, p_claim signalbox.waiting, p_free_slot integer, p_top_slot integer, p_newest_token bigint,
  p_listening boolean, p_max_hold_ms bigint
) returns signalbox.leases
language plpgsql
as $$
declare
  v_lease signalbox.leases;
  v_now timestamptz := signalbox.clock();
  v_token bigint := greatest(p_newest_token + 1, signalbox.token_floor());
  -- What asks for more than there is takes the whole queue.
  v_weight integer := greatest(1, least(p_claim.weight, p_line.concurrency_limit));
  v_hold_until timestamptz := v_now + signalbox.ms(p_max_hold_ms);
  v_expires_at timestamptz := least(v_hold_until,
    v_now + signalbox.ms(case when p_listening then p_claim.ttl_ms else least(p_claim.ttl_ms, 10000) end));
begin
  if p_free_slot is null then
    insert into signalbox.leases (queue, slot, state, claim_id, holder, fencing_token, ttl_ms, priority, mode, seq,
        lapsed_offers, offered, labels, metadata, enqueued_at, acquired_at, renewed_at, expires_at, hold_until,
        kind, attempt, place, rank, weight, asked, joint, wait_until)
      values (p_line.queue, p_top_slot + 1, 'held', p_claim.claim_id, p_claim.holder, v_token, p_claim.ttl_ms,
        p_claim.priority, p_claim.mode, p_claim.seq, p_claim.lapsed_offers, not p_listening, p_claim.labels,
        p_claim.metadata, coalesce(p_claim.enqueued_at, v_now), v_now, v_now, v_expires_at, v_hold_until, p_claim.kind,
        p_claim.attempts + 1, p_claim.place, p_claim.rank, v_weight, nullif(p_claim.weight, v_weight), p_claim.joint,
        p_claim.wait_until)
      returning * into v_lease;
  else
    if p_line.wide then
      update signalbox.lines n set free_head = l.next_free from signalbox.leases l
        where n.queue = p_line.queue and l.queue = p_line.queue and l.slot = p_free_slot;
    end if;
    update signalbox.leases l set
        state = 'held', claim_id = p_claim.claim_id, holder = p_claim.holder, fencing_token = v_token,
        ttl_ms = p_claim.ttl_ms, priority = p_claim.priority, mode = p_claim.mode, seq = p_claim.seq,
        lapsed_offers = p_claim.lapsed_offers, offered = not p_listening, release_requested = false,
        labels = p_claim.labels, metadata = p_claim.metadata, enqueued_at = coalesce(p_claim.enqueued_at, v_now),
        acquired_at = v_now, renewed_at = v_now, expires_at = v_expires_at, hold_until = v_hold_until, ended_at = null,
        end_state = null, end_reason = null, outcome = null, free_after = null, next_free = null, kind = p_claim.kind,
        attempt = p_claim.attempts + 1, place = p_claim.place, rank = p_claim.rank, weight = v_weight,
        asked = nullif(p_claim.weight, v_weight),
        joint = p_claim.joint, wait_until = p_claim.wait_until
      where l.queue = p_line.queue and l.slot = p_free_slot and l.state = 'free'
      returning * into v_lease;
    if not found then
      raise exception 'signalbox: slot % of % is not free', p_free_slot, p_line.queue using errcode = 'SB002';
    end if;
  end if;
  if p_line.wide then
    insert into signalbox.wide_slots (queue, claim_id, slot) values (p_line.queue, v_lease.claim_id, v_lease.slot);
    update signalbox.lines n
      set held = n.held + v_weight, newest_token = v_token, top_slot = greatest(n.top_slot, v_lease.slot)
      where n.queue = p_line.queue;
  end if;
  perform signalbox.record_event('lease.granted', p_line.queue, v_lease.claim_id, signalbox.labelled(jsonb_build_object(
    'holder', v_lease.holder, 'slot', v_lease.slot, 'fencing_token', v_token, 'offered', v_lease.offered),
    v_lease.labels));
  return v_lease;
end $$;
