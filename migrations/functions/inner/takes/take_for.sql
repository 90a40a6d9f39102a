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
  v_continues boolean := coalesce((p_request ->> 'continues')::boolean, false);
  v_bytes bigint := coalesce((p_request ->> 'bytes')::bigint, 4194304);
  v_max_ttl_ms integer;
  v_may_give boolean;
  v_asked text;
  v_lines record;
  v_name text;
  v_share integer;
  v_decision signalbox_v1.decision;
  v_taken jsonb := '[]';
  v_served text[] := '{}';
  v_more boolean;
begin
  if v_queue is not null then
    v_max_ttl_ms := coalesce((select q.max_ttl_ms from signalbox.queues q where q.queue = v_queue), 300000);
    if v_ttl_ms > v_max_ttl_ms then
      return next (null, 'ttl_too_long', v_queue, null,
        jsonb_build_object('max_ttl_ms', v_max_ttl_ms))::signalbox_v1.decision;
      return;
    end if;
  end if;
  -- An idle taker costs a few reads: nothing is locked for it, and nothing written. Read before it is asked whether this
  -- request was made before: a repeat that finds nothing left to give finds what the first call took instead.
  v_may_give := signalbox.may_give(v_queue, v_prefix)
    or (select 1 from signalbox.lines n where n.queue = v_queue and n.runs > 0) is not null;
  v_asked := signalbox.open_take(v_holder, v_request_id, coalesce('=' || v_queue, '^' || v_prefix), v_continues,
    v_may_give);
  if v_asked = 'reused' then
    return next (null, 'request_id_reused', coalesce(v_queue, ''), v_request_id, null)::signalbox_v1.decision;
    return;
  elsif v_asked = 'repeated' then
    return query select * from signalbox.repeat_take(v_holder, v_request_id);
  end if;
  if v_asked <> 'new' then
    return next signalbox.served(false, false, true);
    return;
  elsif not v_may_give then
    return next case when v_queue is not null and (select 1 from signalbox.lines n where n.queue = v_queue) is null
      then (null, 'queue_not_found', v_queue, null, null)::signalbox_v1.decision
      else signalbox.served(false, false, false) end;
    return;
  end if;

  v_lines := signalbox.lock_candidates(v_queue, v_prefix, v_left, p_wait);
  v_more := v_lines.is_full;
  for v_name in
    select s from unnest(v_lines.stirred) s
    where s <> all(v_lines.locked) and (select 1 from signalbox.lines n where n.queue = s) is null
  loop
    return next (null, 'queue_missing', v_name, null, null)::signalbox_v1.decision;
  end loop;
  foreach v_name in array v_lines.locked loop
    return query select * from signalbox.stir_line(v_name, v_name = any(v_lines.stirred), v_queue is not null);
  end loop;

  for v_round in 1..2 loop
    exit when v_left = 0 or v_lines.locked = '{}';
    -- First everybody's share, then what the others left, unless there may be others still.
    exit when v_round = 2 and v_lines.is_full;
    v_share := case v_round when 1 then ceil(v_left::numeric / cardinality(v_lines.locked)) else v_left end;
    -- In the order in which the queues became ready.
    for v_name in
      select c.queue from unnest(v_lines.candidates) with ordinality c(queue, place)
      where c.queue = any(v_lines.locked) order by c.place
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
  foreach v_name in array v_lines.locked loop
    if signalbox.settle_ready(v_name, v_name = any(v_served)) then
      v_more := true;
      return next (null, 'ready', v_name, null, null)::signalbox_v1.decision;
    elsif v_name = any(v_served) and signalbox.has_inbox(v_name) then
      -- What one call moves was all taken; the next one moves more.
      v_more := true;
    end if;
  end loop;
  perform signalbox.close_take(v_holder, v_request_id, v_continues, v_taken);
  return next signalbox.served(v_more, v_lines.is_busy, false);
end $$;
