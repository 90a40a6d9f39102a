-- The usual hand-over, for a whole batch in one statement: the heads of lines in which every claim asks for one place of its
-- queue get its free slots. Call it as advance_line, which serves what this does not by the same rules (hand_over):
-- rotating lines, lines with runs or with something due, new slots, leases that ran out. decisions tell who holds now; served:
-- queues in which nothing more can move; the caller advances the others. p_queues: by name, each once, narrow, and neither paused
-- nor in quarantine.
create or replace function signalbox.serve_heads(
  p_queues text[], out decisions signalbox_v1.decision[], out served text[]
)
language plpgsql
as $$
declare
  v_now timestamptz := signalbox.clock();
  v_token_floor bigint := signalbox.token_floor();
  v_heads integer;
begin
  -- Each queue looks up its own rows (lateral, limit), and rows are changed by ctid: joined, a plan cached on small tables would
  -- read all of them when there are many. A waiting row is never updated, so the head found is the row that is deleted. A
  -- heard row that is locked is being heard now and stays (see forget_heard).
  with room as materialized (
    select n.place as line_place, x.queue, q.max_hold_ms, s.free_places,
      greatest(s.newest_token + 1, v_token_floor) as token, least(n.concurrency_limit - s.taken, n.waiting) as movable
    from unnest(p_queues) x(queue)
    cross join lateral (
      select n.ctid as place, n.concurrency_limit, n.waiting from signalbox.lines n
      where n.queue = x.queue and n.waiting > 0 and n.runs = 0 and n.several = 0 and not n.wide and not n.paused
        and not n.rotates and not n.cleanup and (n.next_due_at is null or n.next_due_at > v_now)
      limit 1) n
    cross join lateral (select q.max_hold_ms from signalbox.queues q where q.queue = x.queue limit 1) q
    cross join lateral (
      select coalesce(sum(l.weight) filter (where l.state = 'held' or l.free_after > v_now), 0)::integer as taken,
        array_agg(l.ctid order by l.slot) filter (where l.state = 'free' and (l.free_after is null or l.free_after <= v_now))
          as free_places,
        max(l.fencing_token) as newest_token, bool_or(l.state = 'held' and l.expires_at <= v_now) as needs_care
      from signalbox.leases l where l.queue = x.queue) s
    where s.taken < n.concurrency_limit and not s.needs_care and s.free_places is not null
      and (select 1 from signalbox.loose_ends e where e.queue = x.queue limit 1) is null),
  head as materialized (
    select r.line_place, r.movable, r.max_hold_ms, r.free_places[w.nth] as slot_place, r.token + w.nth - 1 as token, w.place as claim_place
    from room r
    cross join lateral (
      select w.ctid as place, row_number() over (order by w.place, w.seq, w.rank) as nth
      from signalbox.waiting w
      where w.queue = r.queue and w.kind = 'claim' and (w.wait_until is null or w.wait_until > v_now)
      order by w.place, w.seq, w.rank limit least(r.movable, cardinality(r.free_places))) w),
  claim as (
    delete from signalbox.waiting w using head h where w.ctid = h.claim_place
    returning w.*, h.slot_place, h.token, v_now + signalbox.ms(h.max_hold_ms) as hold_until),
  forgotten as (
    delete from signalbox.heard h where h.ctid = any(array(
      select o.ctid from claim c cross join lateral (
        select g.ctid from signalbox.heard g where g.queue = c.queue and g.claim_id = c.claim_id
        for update skip locked) o))),
  counted as (
    update signalbox.lines n set waiting = n.waiting - c.heads
      from (
        select h.line_place, count(*)::integer as heads, min(h.movable) as movable from head h group by h.line_place) c
      where n.ctid = c.line_place
      returning n.queue, c.heads, c.heads = c.movable as is_served),
  granted as (
    update signalbox.leases l set
        state = 'held', claim_id = c.claim_id, holder = c.holder, fencing_token = c.token, ttl_ms = c.ttl_ms,
        priority = c.priority, mode = c.mode, seq = c.seq, lapsed_offers = c.lapsed_offers, offered = not c.listens,
        release_requested = false, labels = c.labels, metadata = c.metadata, enqueued_at = c.enqueued_at,
        acquired_at = v_now, renewed_at = v_now,
        expires_at = least(c.hold_until,
          v_now + signalbox.ms(case when c.listens then c.ttl_ms else least(c.ttl_ms, 10000) end)),
        hold_until = c.hold_until, ended_at = null, end_state = null, end_reason = null, outcome = null,
        free_after = null, next_free = null, kind = 'claim', attempt = c.attempts + 1, place = c.place, rank = c.rank,
        weight = 1, asked = null, joint = null, wait_until = c.wait_until
      from (
        select y.*, coalesce((select h.listens_until > v_now from signalbox.heard h
            where h.queue = y.queue and h.claim_id = y.claim_id), false) as listens
        from claim y) c
      where l.ctid = c.slot_place and l.state = 'free'
      returning l.queue, l.claim_id, l.holder, l.slot, l.fencing_token, l.offered, l.labels, l as lease),
  told as (
    insert into signalbox.events (at, type, queue, claim_id, data)
      select v_now, 'lease.granted', g.queue, g.claim_id, signalbox.labelled(jsonb_build_object('holder', g.holder,
        'slot', g.slot, 'fencing_token', g.fencing_token, 'offered', g.offered), g.labels)
      from granted g)
  select (select array_agg((null, 'held', g.queue, g.claim_id, signalbox.lease_body(g.lease))::signalbox_v1.decision)
      from granted g),
    coalesce(sum(c.heads), 0), coalesce(array_agg(c.queue) filter (where c.is_served), '{}')
    into decisions, v_heads, served from counted c;
  decisions := coalesce(decisions, '{}');
  if cardinality(decisions) < v_heads then
    raise exception 'signalbox: a slot of % is not free', p_queues using errcode = 'SB002';
  end if;
end $$;
