-- Gives the free slot of a narrow queue to the first claim in line, all in one statement. Call it as grant_slot: with the
-- line locked by an earlier statement, and count_slots, called after that lock, showing this slot free and room. Null =
-- nobody waits, or only who has waited too long (max_wait_ms). A grant that nobody listens for is an offer of at most 10 s. (The same rules as grant_slot's, which serves
-- what this does not: statements are what a grant costs.)
create or replace function signalbox.hand_over(
  p_queue text, p_free_slot integer, p_newest_token bigint, p_max_hold_ms bigint
) returns signalbox.leases
language plpgsql
as $$
declare
  v_now timestamptz := signalbox.clock();
  v_token bigint := greatest(p_newest_token + 1, signalbox.token_floor());
  v_hold_until timestamptz := v_now + signalbox.ms(p_max_hold_ms);
  v_lease signalbox.leases;
begin
  -- A waiting row is never updated, so the head found is the row that is deleted. A heard row that is locked is being heard
  -- now and stays (see forget_heard); until when its client listens is read all the same.
  with head as (
    delete from signalbox.waiting w where w.ctid = (
      select x.ctid from signalbox.waiting x
      where x.queue = p_queue and x.kind = 'claim' and (x.wait_until is null or x.wait_until > v_now)
      order by x.place, x.seq, x.rank limit 1)
    returning w.*),
  forgotten as (
    delete from signalbox.heard h where h.ctid = any(array(
      select o.ctid from head x cross join lateral (
        select g.ctid from signalbox.heard g where g.queue = p_queue and g.claim_id = x.claim_id
        for update skip locked) o))),
  counted as (
    update signalbox.lines n
      set waiting = n.waiting - 1,
          claim_round = case when n.rotates then signalbox.round_after(n.claim_round, x.place - n.order_base, x.priority)
            else n.claim_round end
      from head x where n.queue = p_queue),
  granted as (
    update signalbox.leases l set
        state = 'held', claim_id = x.claim_id, holder = x.holder, fencing_token = v_token, ttl_ms = x.ttl_ms,
        priority = x.priority, mode = x.mode, seq = x.seq, lapsed_offers = x.lapsed_offers, offered = not x.listens,
        release_requested = false, labels = x.labels, metadata = x.metadata, enqueued_at = x.enqueued_at,
        acquired_at = v_now, renewed_at = v_now,
        expires_at = least(v_hold_until,
          v_now + signalbox.ms(case when x.listens then x.ttl_ms else least(x.ttl_ms, 10000) end)),
        hold_until = v_hold_until, ended_at = null, end_state = null, end_reason = null, outcome = null,
        free_after = null, next_free = null, kind = 'claim', attempt = x.attempts + 1, place = x.place, rank = x.rank,
        weight = 1, asked = null, joint = null, wait_until = x.wait_until
      from (
        select y.*, coalesce((select h.listens_until > v_now from signalbox.heard h
            where h.queue = p_queue and h.claim_id = y.claim_id), false) as listens
        from head y) x
      where l.queue = p_queue and l.slot = p_free_slot and l.state = 'free'
      returning l.*),
  told as (
    insert into signalbox.events (at, type, queue, claim_id, data)
      select v_now, 'lease.granted', p_queue, g.claim_id, signalbox.labelled(jsonb_build_object('holder', g.holder,
        'slot', g.slot, 'fencing_token', g.fencing_token, 'offered', g.offered), g.labels)
      from granted g)
  select g.* into v_lease from head x left join granted g on true;
  if found and v_lease.queue is null then
    raise exception 'signalbox: slot % of % is not free', p_free_slot, p_queue using errcode = 'SB002';
  end if;
  return v_lease;
end $$;
