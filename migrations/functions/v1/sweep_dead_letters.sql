-- Leader's chore: dead letters that nobody has looked after for p_retention_ms go, payload and all, at most p_max a call;
-- not one that blocks its line. `next` goes on behind (body.at, queue, claim_id).
create or replace function signalbox_v1.sweep_dead_letters(
  p_leader text, p_epoch bigint, p_retention_ms bigint, p_after_at timestamptz default '-infinity',
  p_after_queue text default '', p_after_claim text default '', p_max integer default 100
) returns setof signalbox_v1.decision
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '250ms'
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
declare
  v_died_by timestamptz := signalbox.clock() - signalbox.ms(p_retention_ms);
  v_found record;
  v_queues text[] := '{}';
  v_claims text[] := '{}';
  v_locked text[];
  v_queue text;
  v_next signalbox_v1.decision;
begin
  perform signalbox.require_term(p_leader, p_epoch);
  for v_found in
    select x.died_at, x.queue, x.claim_id from signalbox.dead_letters x
    where x.died_at between p_after_at and v_died_by and not x.blocks
      and (x.died_at, x.queue, x.claim_id) > (p_after_at, p_after_queue, p_after_claim)
    order by x.died_at, x.queue, x.claim_id limit p_max
  loop
    v_queues := v_queues || v_found.queue;
    v_claims := v_claims || v_found.claim_id;
    v_next := (null, 'next', v_found.queue, v_found.claim_id,
      jsonb_build_object('at', signalbox.rfc3339(v_found.died_at)))::signalbox_v1.decision;
  end loop;
  select array_agg(l.queue) into v_locked from (
    select n.queue from signalbox.lines n where n.queue = any(v_queues)
    order by n.queue for no key update skip locked) l;
  foreach v_queue in array coalesce(v_locked, '{}') loop
    -- Looked up again, under the lock: one that was redriven meanwhile may have died again since.
    return query select * from signalbox.drop_letters(v_queue, array(
      select u.claim_id from unnest(v_queues, v_claims) u(queue, claim_id)
      where u.queue = v_queue
        and (select 1 from signalbox.dead_letters x where x.queue = u.queue and x.claim_id = u.claim_id
             and x.died_at <= v_died_by and not x.blocks) is not null), p_detail => 'retention');
  end loop;
  if cardinality(v_claims) = p_max then
    return next v_next;
  end if;
end $$;
