-- The usual acquire, for a whole batch in one statement: a claim nobody has heard of yet, the only operation of its queue
-- in the batch that is not answered yet (endings come first, also those that are decided one by one), in a narrow queue
-- where nobody waits, no lease has run out and a slot is free. The lines are locked by an earlier statement, so nothing
-- but a renewal can change their slots meanwhile. What does not fit gets no row here and is decided one by one
-- (decide_acquire, which grant_slot serves by the same rules).
create or replace function signalbox.grant_free(p_items jsonb, p_lines signalbox.lines[], p_answered integer[])
returns setof signalbox_v1.decision
language plpgsql
as $$
declare
  v_now timestamptz := signalbox.clock();
  v_token_floor bigint := signalbox.token_floor();
begin
  return query
  with items as materialized (
    select (o.n - 1)::integer as item, x.*, count(*) over (partition by x.queue collate "C") as rivals
    from jsonb_array_elements(p_items) with ordinality o(value, n),
      jsonb_to_record(o.value) as x(op text, queue text, claim_id text, holder text, priority integer, ttl_ms integer,
        mode text, labels jsonb, metadata jsonb, fresh boolean)
    where o.n - 1 <> all(p_answered)),
  -- Each item looks up its own rows (lateral, limit), and the update goes by ctid (only decisions under the line's lock
  -- change a free row): joined, a plan cached on small tables would read all leases when there are many.
  room as materialized (
    select i.*, f.place, greatest(s.newest_token + 1, v_token_floor) as token,
      v_now + signalbox.ms(q.max_hold_ms) as hold_until, coalesce(i.ttl_ms, q.default_ttl_ms) as lease_ms
    from items i
    join unnest(p_lines) p on p.queue = i.queue
    cross join lateral (
      select n.waiting, n.runs + n.delayed + n.dead as elsewhere
      from signalbox.lines n where n.queue = i.queue limit 1) n
    cross join lateral (
      select q.max_hold_ms, q.default_ttl_ms, q.max_ttl_ms, q.claim_memory_ms
      from signalbox.queues q where q.queue = i.queue limit 1) q
    cross join lateral (
      select count(*) filter (where l.state = 'held' or l.free_after > v_now) as taken,
        min(l.slot) filter (where l.state = 'free' and (l.free_after is null or l.free_after <= v_now)) as free_slot,
        max(l.fencing_token) as newest_token,
        bool_or(l.state = 'held' and l.expires_at <= v_now or l.claim_id = i.claim_id) as needs_care
      from signalbox.leases l where l.queue = i.queue) s
    cross join lateral (
      select l.ctid as place from signalbox.leases l where l.queue = i.queue and l.slot = s.free_slot limit 1) f
    where i.op = 'acquire' and i.rivals = 1 and n.waiting = 0 and not p.wide and not p.paused
      and s.taken < p.concurrency_limit and not s.needs_care
      and coalesce(i.ttl_ms, q.default_ttl_ms) <= q.max_ttl_ms
      and (i.fresh or (
        -- Looked for only where there are any; the lease of a held run has been seen above.
        (n.elsewhere = 0 or (
          (select 1 from signalbox.delayed d where d.claim_id = i.claim_id and d.queue = i.queue limit 1) is null
          and (select 1 from signalbox.runs r where r.queue = i.queue and r.claim_id = i.claim_id limit 1) is null
          and (select 1 from signalbox.dead_letters x
            where x.queue = i.queue and x.claim_id = i.claim_id limit 1) is null))
        and (select 1 from signalbox.inbox b where b.claim_id = i.claim_id and b.queue = i.queue limit 1) is null
        and not exists (
        select 1 from signalbox.history h
        where h.queue = i.queue and h.claim_id = i.claim_id and h.final
          and h.ended_at > v_now - signalbox.ms(q.claim_memory_ms))))),
  granted as (
    update signalbox.leases l set
        state = 'held', claim_id = r.claim_id, holder = r.holder, fencing_token = r.token, ttl_ms = r.lease_ms,
        priority = coalesce(r.priority, 0), mode = coalesce(r.mode, 'wait'), seq = 0, lapsed_offers = 0,
        offered = false, release_requested = false, labels = coalesce(r.labels, '{}'),
        metadata = coalesce(r.metadata, '{}'), enqueued_at = v_now, acquired_at = v_now, renewed_at = v_now,
        expires_at = least(r.hold_until, v_now + signalbox.ms(r.lease_ms)), hold_until = r.hold_until,
        ended_at = null, end_state = null, end_reason = null, outcome = null, free_after = null, next_free = null,
        kind = 'claim', attempt = 1
      from room r
      where l.ctid = r.place and l.state = 'free'
      returning r.item, l as lease),
  told as (
    insert into signalbox.events (at, type, queue, claim_id, data)
      select v_now, 'lease.granted', (g.lease).queue, (g.lease).claim_id, jsonb_build_object('holder', (g.lease).holder,
        'slot', (g.lease).slot, 'fencing_token', (g.lease).fencing_token, 'offered', false)
      from granted g)
  select g.item, 'held', (g.lease).queue, (g.lease).claim_id, signalbox.lease_body(g.lease) from granted g;
end $$;
