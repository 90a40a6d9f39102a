-- The present state of claims, [{"queue", "claim_id", "listen_ms"}], read without any line's lock. p_hear: the client of
-- each claim asked just now, which keeps a waiting claim alive and makes an offer a full lease. Positions are exact among
-- the first 10,000 of a line; behind them position_exact is false and position is a lower bound.
create or replace function signalbox_v1.look(p_items jsonb, p_hear boolean default false)
returns setof signalbox_v1.decision
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '250ms'
set plan_cache_mode = force_generic_plan
as $$
declare
  v_item record;
  v_line signalbox.lines;
  v_lease signalbox.leases;
  v_queued signalbox.delayed;
  v_body jsonb;
  v_decision signalbox_v1.decision;
  v_answered boolean[] := '{}';
begin
  if p_hear then
    -- Each item looks up its own row; a join would keep the plan of an empty table (see hear_waiting).
    perform 1 from signalbox.heard h
      where h.ctid = any(array(
        select g.ctid from jsonb_to_recordset(p_items) as x(queue text, claim_id text)
        cross join lateral (
          select h.ctid from signalbox.heard h where h.queue = x.queue and h.claim_id = x.claim_id limit 1) g))
      order by h.queue || '', h.claim_id for no key update; -- not by the index, which would be read whole
    if found then
      with found as materialized (
        select g.ctid, x.listen_ms from jsonb_to_recordset(p_items) as x(queue text, claim_id text, listen_ms integer)
        cross join lateral (
          select h.ctid from signalbox.heard h where h.queue = x.queue and h.claim_id = x.claim_id limit 1) g)
      update signalbox.heard h set heard_at = signalbox.clock(),
          listens_until = greatest(h.listens_until, signalbox.clock() + signalbox.ms(coalesce(f.listen_ms, 0)))
        from found f
        where h.ctid = any(array(select o.ctid from found o)) and h.ctid = f.ctid;
    end if;
  end if;

  -- Every waiting claim asked about, each line read once for all of them.
  for v_decision in
    with items as materialized (
      select (o.n - 1)::integer as item, o.value ->> 'queue' as queue, o.value ->> 'claim_id' as claim_id
      from jsonb_array_elements(p_items) with ordinality o(value, n)),
    wanted as materialized (
      select i.item, i.queue, i.claim_id, w.claim
      from items i cross join lateral (
        select w as claim from signalbox.waiting w where w.claim_id = i.claim_id and w.queue = i.queue limit 1) w),
    lines as materialized (
      select n as line, s.held, s.delayed, s.blocked_by, s.cleaning, o.typical_ms, o.free_in_ms
      from (select distinct queue from wanted) d
      join signalbox.lines n on n.queue = d.queue
      cross join lateral signalbox.blocked_by(n) s
      cross join lateral signalbox.hold_outlook(n) o),
    kinds as materialized (select distinct w.queue, (w.claim).kind as kind from wanted w),
    places as (
      select p.queue, p.claim_id, p.place
      from kinds k cross join lateral (
        select w.queue, w.claim_id, row_number() over (order by w.place, w.seq, w.rank) as place
        from signalbox.waiting w where w.queue = k.queue and w.kind = k.kind and w.kind <> ''
        order by w.place, w.seq, w.rank limit 10000) p)
    select w.item, 'waiting', w.queue, w.claim_id,
      signalbox.waiting_body(signalbox.in_line(w.claim)) || jsonb_build_object(
        'position', coalesce(p.place, 10001), 'ahead', coalesce(p.place, 10001) - 1,
        'position_exact', p.place is not null,
        'queue_depth', case (w.claim).kind when 'run' then (l.line).runs else (l.line).waiting end,
        'waiting_for', r.waiting_for, 'estimated_wait_ms', e.estimated_wait_ms,
        'why', signalbox.why(l.line, r.waiting_for, coalesce(p.place, 10001), l.held, l.blocked_by, e.estimated_wait_ms,
          (w.claim).weight, o.rounds_ahead),
        'blocked_by', l.blocked_by,
        'earlier_grants', case when (w.claim).attempts > 0 or (w.claim).lapsed_offers > 0
          then signalbox.earlier_grants(w.queue, w.claim_id, (w.claim).enqueued_at) else '[]' end,
        'poll_after_ms', least(case when p.place = 1 then 1000 else 3000 end, q.waiting_ttl_ms / 3))
    from wanted w join lines l on (l.line).queue = w.queue
    join signalbox.queues q on q.queue = w.queue
    left join places p on p.queue = w.queue and p.claim_id = w.claim_id
    cross join lateral signalbox.standing(q, (l.line).order_base,
      case (w.claim).kind when 'run' then (l.line).run_round else (l.line).claim_round end, (w.claim).place) o
    cross join lateral (
      select signalbox.waiting_for(l.line, coalesce(p.place, 10001), l.held, l.delayed, (w.claim).kind,
        (w.claim).kind = 'run'
          and signalbox.stands_behind_blocker(l.line, (w.claim).place, (w.claim).seq, (w.claim).rank),
        l.cleaning, signalbox.quarantine_end(w.queue, signalbox.known_failover_at()) is not null) as waiting_for) r
    cross join lateral (
      select case when (w.claim).kind = 'claim' and (w.claim).weight = 1 then signalbox.estimated_wait_ms(l.line, p.place, r.waiting_for,
        l.typical_ms, l.free_in_ms) end as estimated_wait_ms) e
  loop
    v_answered[v_decision.item + 1] := true;
    if v_decision.body ?| '{also,primary}' then
      v_decision.body := v_decision.body || signalbox.other_queue(v_decision.queue, v_decision.claim_id);
    end if;
    return next v_decision;
  end loop;

  for v_item in
    select (o.n - 1)::integer as item, o.value ->> 'queue' as queue, o.value ->> 'claim_id' as claim_id
    from jsonb_array_elements(p_items) with ordinality o(value, n)
  loop
    continue when v_answered[v_item.item + 1];
    select * into v_line from signalbox.lines n where n.queue = v_item.queue;
    v_lease := signalbox.find_lease(v_line, v_item.claim_id);
    if p_hear and v_lease.state = 'held' and v_lease.offered
      and (v_lease.hold_until is null or v_lease.hold_until > signalbox.clock()) then
      -- As with a renewal, just too late is in time as long as nobody ended it. To be told that it expired would be
      -- wrong: a lapsed offer goes back into the line.
      v_lease := signalbox.accept_offer(v_lease);
      if v_lease.offered then
        v_lease := signalbox.find_lease(v_line, v_item.claim_id);
      end if;
    end if;
    if v_lease.state = 'held' then
      return next (v_item.item, case when v_lease.expires_at > signalbox.clock() then 'held' else 'ended' end,
        v_item.queue, v_item.claim_id, signalbox.lease_body(v_lease))::signalbox_v1.decision;
      continue;
    end if;
    v_queued := signalbox.find_queued(v_item.queue, v_item.claim_id);
    if v_queued.due_at is not null then
      return next (v_item.item, 'waiting', v_item.queue, v_item.claim_id,
        signalbox.delayed_body(v_line, v_queued))::signalbox_v1.decision;
      continue;
    end if;
    if v_queued.queue is not null then
      -- It went back into the line (an offer lapsed) after the line was read above.
      return query select v_item.item, d.code, d.queue, d.claim_id, d.body
        from signalbox_v1.look(jsonb_build_array(jsonb_build_object('queue', v_item.queue, 'claim_id', v_item.claim_id)),
          false) d;
      continue;
    end if;
    v_body := signalbox.inbox_body(v_line, v_item.queue, v_item.claim_id);
    if v_body is not null then
      return next (v_item.item, 'waiting', v_item.queue, v_item.claim_id, v_body)::signalbox_v1.decision;
      continue;
    end if;
    select signalbox.ended_claim(v_item.queue, v_item.claim_id,
        coalesce((select q.claim_memory_ms from signalbox.queues q where q.queue = v_item.queue), 86400000))
      into v_body;
    if v_body is null then
      v_body := signalbox.dead_letter_body(v_item.queue, v_item.claim_id);
    end if;
    return next (v_item.item,
      case when v_body is not null then 'ended' when v_line.queue is null then 'queue_not_found'
        else 'claim_not_found' end,
      v_item.queue, v_item.claim_id, v_body)::signalbox_v1.decision;
  end loop;
end $$;
