-- One request of signalbox_v1.take, without the item's number.
create or replace function signalbox.take_for(p_request jsonb, p_wait boolean) returns setof signalbox_v1.decision
language plpgsql
as $$
declare
  v_holder text := p_request ->> 'holder';
  v_queue text := p_request ->> 'queue';
  v_prefix text := p_request ->> 'prefix';
  v_ttl_ms integer := (p_request ->> 'ttl_ms')::integer;
  v_left integer := coalesce((p_request ->> 'max')::integer, 1);
  v_request_id text := p_request ->> 'request_id';
  v_bytes bigint := coalesce((p_request ->> 'bytes')::bigint, 4194304);
  -- Read before it is asked whether this request was made before: a repeat that finds nothing left to give finds what the
  -- first call took instead.
  v_may_give boolean := signalbox.may_give(p_request ->> 'queue', p_request ->> 'prefix')
    or (select 1 from signalbox.lines n where n.queue = p_request ->> 'queue' and n.runs > 0) is not null;
  v_ready record;
  v_candidates text[];
  v_stirred text[];
  v_locked text[];
  v_name text;
  v_share integer;
  v_line signalbox.lines;
  v_decision signalbox_v1.decision;
  v_taken jsonb := '[]';
  v_served text[] := '{}';
  v_full boolean := false;
  v_passed_over boolean := false;
  v_more boolean;
begin
  if v_queue is not null
    and v_ttl_ms > coalesce((select q.max_ttl_ms from signalbox.queues q where q.queue = v_queue), 300000) then
    return next (null, 'ttl_too_long', v_queue, null, jsonb_build_object('max_ttl_ms',
      coalesce((select q.max_ttl_ms from signalbox.queues q where q.queue = v_queue), 300000)))::signalbox_v1.decision;
    return;
  end if;
  if v_request_id is not null then
    if (p_request ->> 'continues')::boolean then
      perform 1 from signalbox.takes t
        where t.holder = v_holder and t.request_id = v_request_id and not t.closed for no key update;
      if not found then
        return next signalbox.served(false, false, true);
        return;
      end if;
    elsif exists (select 1 from signalbox.takes t where t.holder = v_holder and t.request_id = v_request_id) then
      return query select * from signalbox.repeat_take(v_holder, v_request_id);
      return next signalbox.served(false, false, true);
      return;
    end if;
  end if;
  -- An idle taker costs a few reads: nothing is locked for it, and nothing written.
  if not v_may_give then
    if v_queue is not null and (select 1 from signalbox.lines n where n.queue = v_queue) is null then
      return next (null, 'queue_not_found', v_queue, null, null)::signalbox_v1.decision;
      return;
    end if;
    return next signalbox.served(false, false, false);
    return;
  end if;
  if v_request_id is not null and not coalesce((p_request ->> 'continues')::boolean, false) then
    insert into signalbox.takes (holder, request_id, taken_at) values (v_holder, v_request_id, signalbox.clock())
      on conflict (holder, request_id) do nothing;
    if not found then
      return query select * from signalbox.repeat_take(v_holder, v_request_id);
      return next signalbox.served(false, false, true);
      return;
    end if;
  end if;

  if v_queue is not null then
    v_candidates := array[v_queue];
    v_stirred := v_candidates;
  else
    -- Locked here first and released with the call: a line is only skipped, so nobody waits for anybody in a circle.
    v_ready := signalbox.lock_ready_queues(v_prefix, least(64, v_left + 1));
    v_candidates := v_ready.queues;
    v_passed_over := v_ready.passed_over;
    v_full := cardinality(v_candidates) = least(64, v_left + 1);
    v_stirred := signalbox.stirring_queues(v_prefix, 16);
    v_candidates := v_candidates || array(select s from unnest(v_stirred) s where s <> all(v_candidates));
  end if;
  v_more := v_full;

  if p_wait then
    select array_agg(l.queue) into v_locked from (
      select n.queue from signalbox.lines n where n.queue = any(v_candidates)
      order by n.queue for no key update of n) l;
  else
    select array_agg(l.queue) into v_locked from (
      select n.queue from signalbox.lines n where n.queue = any(v_candidates)
      order by n.queue for no key update of n skip locked) l;
  end if;
  for v_name in
    select c from unnest(v_stirred) c
    where c <> all(coalesce(v_locked, '{}'))
      and (select 1 from signalbox.lines n where n.queue = c) is null
  loop
    return next (null, 'queue_missing', v_name, null, null)::signalbox_v1.decision;
  end loop;

  -- What may come into these lines first, then what their places allow; in the order in which the queues became ready.
  foreach v_name in array coalesce(v_locked, '{}') loop
    if v_name = any(v_stirred) then
      perform signalbox.move_inbox(v_name, 1000);
    end if;
    select * into v_line from signalbox.lines n where n.queue = v_name;
    -- In a wide queue with free places nobody needs to look for leases that ran out, but for a taker that finds nothing else.
    if v_line.waiting > 0 or v_line.next_due_at <= signalbox.clock()
      or (signalbox.count_slots(v_line)).expired > 0
      or v_line.wide and v_line.runs = 0 and v_queue is not null and exists (
        select 1 from signalbox.leases l
        where l.queue = v_name and l.state = 'held' and l.kind = 'run' and l.expires_at <= signalbox.clock()) then
      return query select * from signalbox.advance_line(v_name) d where d.code <> 'ready';
    end if;
  end loop;
  for v_round in 1..2 loop
    exit when v_left = 0 or v_locked is null;
    -- First everybody's share, then what the others left, unless there may be others still.
    v_share := case v_round when 1 then ceil(v_left::numeric / cardinality(v_locked)) else v_left end;
    exit when v_round = 2 and v_full;
    for v_name in
      select c.queue from unnest(v_candidates) with ordinality c(queue, place)
      where c.queue = any(v_locked) order by c.place
    loop
      exit when v_left = 0;
      for v_decision in
        select * from signalbox.take_from(v_name, v_holder, v_ttl_ms, least(v_share, v_left), v_bytes)
      loop
        v_left := v_left - 1;
        v_served := v_served || v_name;
        v_bytes := v_bytes - coalesce(octet_length(v_decision.body ->> 'payload'), 0);
        v_taken := v_taken || jsonb_build_object('queue', v_name, 'claim_id', v_decision.claim_id,
          'fencing_token', v_decision.body -> 'fencing_token');
        return next v_decision;
      end loop;
    end loop;
  end loop;
  foreach v_name in array coalesce(v_locked, '{}') loop
    if signalbox.settle_ready(v_name, v_name = any(v_served)) then
      v_more := true;
      return next (null, 'ready', v_name, null, null)::signalbox_v1.decision;
    end if;
  end loop;

  if v_request_id is not null and jsonb_array_length(v_taken) > 0 then
    update signalbox.takes t set claims = t.claims || v_taken
      where t.holder = v_holder and t.request_id = v_request_id;
  elsif v_request_id is not null and not coalesce((p_request ->> 'continues')::boolean, false) then
    -- Nothing was given: the next call with this id may still be given something.
    delete from signalbox.takes t where t.holder = v_holder and t.request_id = v_request_id;
  end if;
  return next signalbox.served(v_more,
    v_passed_over or coalesce(cardinality(v_locked), 0) < cardinality(v_candidates), false);
end $$;
