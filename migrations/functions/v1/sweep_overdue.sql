-- Leader's chore: runs that are older than they may be (max_age_ms) and that nobody holds are dead; one that is held may
-- still end well. At most p_max are looked at a call; `next` goes on behind (body.at, queue, claim_id).
create or replace function signalbox_v1.sweep_overdue(
  p_leader text, p_epoch bigint, p_after_at timestamptz default '-infinity', p_after_queue text default '',
  p_after_claim text default '', p_max integer default 100
) returns setof signalbox_v1.decision
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '250ms'
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
declare
  v_now timestamptz := signalbox.clock();
  v_found record;
  v_queues text[] := '{}';
  v_claims text[] := '{}';
  v_locked text[];
  v_claim signalbox.delayed;
  v_memory_ms integer;
  v_ended text[] := '{}';
  v_queue text;
  v_next signalbox_v1.decision;
begin
  perform signalbox.require_term(p_leader, p_epoch);
  for v_found in
    select r.dead_after, r.queue, r.claim_id from signalbox.runs r
    where r.dead_after between p_after_at and v_now
      and (r.dead_after, r.queue, r.claim_id) > (p_after_at, p_after_queue, p_after_claim)
    order by r.dead_after, r.queue, r.claim_id limit p_max
  loop
    v_queues := v_queues || v_found.queue;
    v_claims := v_claims || v_found.claim_id;
    v_next := (null, 'next', v_found.queue, v_found.claim_id,
      jsonb_build_object('at', signalbox.rfc3339(v_found.dead_after)))::signalbox_v1.decision;
  end loop;
  select array_agg(l.queue) into v_locked from (
    select n.queue from signalbox.lines n where n.queue = any(v_queues)
    order by n.queue for no key update skip locked) l;
  -- Looked up again, under the locks: one that was redriven meanwhile has time again.
  for v_found in
    select u.queue, u.claim_id from unnest(v_queues, v_claims) u(queue, claim_id)
    where u.queue = any(v_locked)
      and (select 1 from signalbox.runs r
           where r.queue = u.queue and r.claim_id = u.claim_id and r.dead_after <= v_now) is not null
  loop
    v_claim := signalbox.find_queued(v_found.queue, v_found.claim_id);
    continue when v_claim.kind is distinct from 'run';
    perform signalbox.end_waiting(v_claim, 'dead', 'max_age');
    select q.claim_memory_ms into v_memory_ms from signalbox.queues q where q.queue = v_claim.queue;
    return next (null, 'ended', v_claim.queue, v_claim.claim_id,
      signalbox.ended_claim(v_claim.queue, v_claim.claim_id, v_memory_ms))::signalbox_v1.decision;
    v_ended := v_ended || v_claim.queue;
  end loop;
  for v_queue in select distinct e.queue collate "C" from unnest(v_ended) e(queue) order by 1 loop
    if signalbox.refresh_ready(v_queue) then
      return next (null, 'ready', v_queue, null, null)::signalbox_v1.decision;
    end if;
  end loop;
  if cardinality(v_claims) = p_max then
    return next v_next;
  end if;
end $$;
