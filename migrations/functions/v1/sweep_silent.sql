-- Leader's chore: waiting claims whose client has been silent for the queue's waiting_ttl_ms; an open long-poll counts as
-- heard.
create or replace function signalbox_v1.sweep_silent(
  p_leader text, p_epoch bigint, p_after_queue text default '', p_after_claim text default '', p_max integer default 100
) returns setof signalbox_v1.decision
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '250ms'
set plan_cache_mode = force_generic_plan
as $$
declare
  v_found record;
  v_lines text[];
  v_claim signalbox.waiting;
  v_memory_ms integer;
  v_last_queue text;
  v_last_claim text;
  v_candidates jsonb := '[]';
begin
  perform signalbox.require_term(p_leader, p_epoch);
  for v_found in
    select h.queue, h.claim_id from signalbox.heard h
    left join signalbox.queues q on q.queue = h.queue
    where (h.queue, h.claim_id) > (p_after_queue, p_after_claim)
      and greatest(h.heard_at, h.listens_until) < signalbox.clock() - signalbox.ms(coalesce(q.waiting_ttl_ms, 60000))
    order by h.queue, h.claim_id limit p_max
  loop
    v_candidates := v_candidates || jsonb_build_object('queue', v_found.queue, 'claim_id', v_found.claim_id);
    v_last_queue := v_found.queue;
    v_last_claim := v_found.claim_id;
  end loop;
  if v_last_queue is null then
    return;
  end if;
  select array_agg(l.queue) into v_lines from (
    select n.queue from signalbox.lines n
    where n.queue in (select c.value ->> 'queue' from jsonb_array_elements(v_candidates) c)
    order by n.queue for no key update skip locked) l;
  -- Rows whose claim no longer waits are left-overs of polls that were in flight at the grant. Only under the line's lock,
  -- or where there is no line: a claim that is just going into the line must not lose its row.
  delete from signalbox.heard h where h.ctid = any(array(
    select g.ctid from jsonb_to_recordset(v_candidates) as x(queue text, claim_id text)
    cross join lateral (
      select h.ctid from signalbox.heard h where h.queue = x.queue and h.claim_id = x.claim_id
        and greatest(h.heard_at, h.listens_until) < signalbox.clock() - interval '1 second'
      for update skip locked) g
    where (x.queue = any(v_lines) or not exists (select 1 from signalbox.lines n where n.queue = x.queue))
      and not exists (select 1 from signalbox.waiting w where w.claim_id = x.claim_id and w.queue = x.queue)
      and not exists (select 1 from signalbox.delayed d where d.claim_id = x.claim_id and d.queue = x.queue)));
  for v_claim in
    select w.* from jsonb_to_recordset(v_candidates) as x(queue text, claim_id text)
    join signalbox.waiting w on w.claim_id = x.claim_id and w.queue = x.queue
    join signalbox.heard h on h.queue = x.queue and h.claim_id = x.claim_id
    join signalbox.queues q on q.queue = x.queue
    where w.queue = any(v_lines)
      and greatest(h.heard_at, h.listens_until) < signalbox.clock() - signalbox.ms(q.waiting_ttl_ms)
    order by w.queue, w.claim_id
  loop
    perform signalbox.end_waiting(signalbox.in_line(v_claim), 'expired', 'waiting_ttl');
    select q.claim_memory_ms into v_memory_ms from signalbox.queues q where q.queue = v_claim.queue;
    return next (null, 'ended', v_claim.queue, v_claim.claim_id,
      signalbox.ended_claim(v_claim.queue, v_claim.claim_id, v_memory_ms))::signalbox_v1.decision;
  end loop;
  return next (null, 'next', v_last_queue, v_last_claim, null)::signalbox_v1.decision;
end $$;
