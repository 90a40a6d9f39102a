-- The usual acquire, for a whole batch in one statement: a claim nobody has heard of yet, in a narrow queue where nobody
-- waits, no lease has run out and a slot is free. The lines are locked by an earlier statement, so nothing but a renewal
-- can change their slots meanwhile. p_not: items that are answered already, or ask for a known claim. p_apart: queues whose
-- operations are decided one by one; of every other queue the batch has at most one acquire, and nothing else that is not
-- answered yet. What does not fit gets no decision here and is decided one by one too (decide_acquire, which grant_slot
-- serves by the same rules).
create or replace function signalbox.grant_free(
  p_operations signalbox.operation[], p_not integer[], p_apart text[]
) returns signalbox_v1.decision[]
language plpgsql
as $$
declare
  v_now timestamptz := signalbox.clock();
  v_granted_at text := signalbox.rfc3339(v_now);
  v_token_floor bigint := signalbox.token_floor();
  v_decisions signalbox_v1.decision[];
begin
  -- Each item looks up its own rows (lateral, limit), and the update goes by ctid (only decisions under the line's lock
  -- change a free row): joined, a plan cached on small tables would read all leases when there are many.
  with room as materialized (
    select (o.ordinality - 1)::integer as item, o.claim_id, o.holder, o.priority, o.mode, o.labels, o.metadata, f.place,
      least(coalesce(o.weight, 1), n.concurrency_limit) as weight, coalesce(o.weight, 1) as asked,
      signalbox.place_at(n.order_base, q.priority_head_start_ms, coalesce(o.priority, 0), v_now) as line_place,
      greatest(s.newest_token + 1, v_token_floor) as token, coalesce(o.ttl_ms, q.default_ttl_ms) as lease_ms,
      q.max_hold_ms, v_now + signalbox.ms(q.max_hold_ms) as hold_until,
      v_now + signalbox.ms(least(o.max_wait_ms, q.max_wait_ms)) as wait_until
    from unnest(p_operations) with ordinality o
    cross join lateral (
      select n.concurrency_limit, n.waiting, n.delayed, n.order_base from signalbox.lines n where n.queue = o.queue limit 1) n
    cross join lateral (
      select q.max_hold_ms, q.default_ttl_ms, q.max_ttl_ms, q.max_wait_ms, q.cancel_in_progress, q.priority_head_start_ms
      from signalbox.queues q where q.queue = o.queue limit 1) q
    cross join lateral (
      select coalesce(sum(l.weight) filter (where l.state = 'held' or l.free_after > v_now), 0) as taken,
        min(l.slot) filter (where l.state = 'free' and (l.free_after is null or l.free_after <= v_now)) as free_slot,
        max(l.fencing_token) as newest_token,
        bool_or(l.state = 'held' and l.expires_at <= v_now or l.claim_id = o.claim_id) as needs_care
      from signalbox.leases l where l.queue = o.queue) s
    cross join lateral (
      select l.ctid as place from signalbox.leases l where l.queue = o.queue and l.slot = s.free_slot limit 1) f
    where o.op = 'acquire' and o.ordinality - 1 <> all(p_not) and o.queue <> all(p_apart)
      and n.waiting = 0 and s.taken + least(coalesce(o.weight, 1), n.concurrency_limit) <= n.concurrency_limit
      and n.concurrency_limit > 0 and not s.needs_care and o.also is null and o.batch is null
      and coalesce(o.ttl_ms, q.default_ttl_ms) <= q.max_ttl_ms
      -- One that has older ones to end, or to ask to release, does that too.
      and (o.mode is distinct from 'latest_only' or n.delayed = 0 and (s.taken = 0 or not q.cancel_in_progress))),
  granted as (
    update signalbox.leases l set
        state = 'held', claim_id = r.claim_id, holder = r.holder, fencing_token = r.token, ttl_ms = r.lease_ms,
        priority = coalesce(r.priority, 0), mode = coalesce(r.mode, 'wait'), seq = 0, lapsed_offers = 0,
        offered = false, release_requested = false, labels = coalesce(r.labels, '{}'),
        metadata = coalesce(r.metadata, '{}'), enqueued_at = v_now, acquired_at = v_now, renewed_at = v_now,
        expires_at = least(r.hold_until, v_now + signalbox.ms(r.lease_ms)), hold_until = r.hold_until,
        ended_at = null, end_state = null, end_reason = null, outcome = null, free_after = null, next_free = null,
        kind = 'claim', attempt = 1, place = r.line_place, rank = 0, weight = r.weight, asked = nullif(r.asked, r.weight),
        joint = null, wait_until = r.wait_until
      from room r
      where l.ctid = r.place and l.state = 'free'
      returning r.item, l.queue, l.claim_id, l.holder, l.slot, l.fencing_token, l.ttl_ms, l.labels,
        least(r.lease_ms, r.max_hold_ms) as remaining_ms),
  told as (
    insert into signalbox.events (at, type, queue, claim_id, data)
      select v_now, 'lease.granted', g.queue, g.claim_id, signalbox.labelled(jsonb_build_object('holder', g.holder,
        'slot', g.slot, 'fencing_token', g.fencing_token, 'offered', false), g.labels)
      from granted g)
  select array_agg((g.item, 'granted', g.queue, g.claim_id,
      signalbox.grant_body(g.slot, g.fencing_token, g.ttl_ms, g.remaining_ms, v_granted_at))::signalbox_v1.decision)
    into v_decisions from granted g;
  return coalesce(v_decisions, '{}');
end $$;
