-- Leader's chore: claims in line, or delayed, whose max_wait_ms is over. At most p_max are looked at a call; lines that
-- somebody else holds are for the next round. `next` goes on behind (body.at, queue, claim_id). (None is granted meanwhile:
-- see hand_over.)
create or replace function signalbox_v1.sweep_wait_timeouts(
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
  v_moved integer := 0;
  v_decision signalbox_v1.decision;
  v_next signalbox_v1.decision;
begin
  perform signalbox.require_term(p_leader, p_epoch);
  for v_found in
    select o.wait_until, o.queue, o.claim_id from (
      (select w.wait_until, w.queue, w.claim_id from signalbox.waiting w
       where w.wait_until between p_after_at and v_now
         and (w.wait_until, w.queue, w.claim_id) > (p_after_at, p_after_queue, p_after_claim)
       order by w.wait_until, w.queue, w.claim_id limit p_max)
      union all
      (select d.wait_until, d.queue, d.claim_id from signalbox.delayed d
       where d.wait_until between p_after_at and v_now
         and (d.wait_until, d.queue, d.claim_id) > (p_after_at, p_after_queue, p_after_claim)
       order by d.wait_until, d.queue, d.claim_id limit p_max)) o
    order by o.wait_until, o.queue, o.claim_id limit p_max
  loop
    v_queues := v_queues || v_found.queue;
    v_claims := v_claims || v_found.claim_id;
    v_next := (null, 'next', v_found.queue, v_found.claim_id,
      jsonb_build_object('at', signalbox.rfc3339(v_found.wait_until)))::signalbox_v1.decision;
  end loop;
  select array_agg(l.queue) into v_locked from (
    select n.queue from signalbox.lines n where n.queue = any(v_queues)
    order by n.queue for no key update skip locked) l;
  -- Looked up again, under the locks: one that was granted meanwhile waits no more.
  for v_found in
    select u.queue, u.claim_id from unnest(v_queues, v_claims) u(queue, claim_id) where u.queue = any(v_locked)
  loop
    v_claim := signalbox.find_queued(v_found.queue, v_found.claim_id);
    continue when v_claim.queue is null or v_claim.wait_until is null or v_claim.wait_until > v_now;
    perform signalbox.end_waiting(v_claim, 'expired', 'wait_timeout');
    select q.claim_memory_ms into v_memory_ms from signalbox.queues q where q.queue = v_claim.queue;
    return next (null, 'ended', v_claim.queue, v_claim.claim_id,
      signalbox.ended_claim(v_claim.queue, v_claim.claim_id, v_memory_ms))::signalbox_v1.decision;
    v_ended := v_ended || v_claim.queue;
    v_moved := v_moved + 1;
  end loop;
  -- What stood behind them may have room now: one that asks for fewer places, or runs.
  for v_queue in select distinct e.queue collate "C" from unnest(v_ended) e(queue) order by 1 loop
    exit when v_moved >= 2 * p_max;
    for v_decision in select * from signalbox.advance_line(v_queue, p_max) loop
      v_moved := v_moved + (v_decision.code <> 'ready')::integer;
      return next v_decision;
    end loop;
  end loop;
  if cardinality(v_claims) = p_max then
    return next v_next;
  end if;
end $$;
