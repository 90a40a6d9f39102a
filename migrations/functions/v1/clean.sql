-- Gives dirty slots of a queue to a cleaner, those first that have been dirty longest: code cleaning, with item 0, the lease
-- and what was there before (previous). They count as taken as before, so no limit, pause or line is in the way; when the
-- cleaner releases with outcome success or none, the slot is free, and else dirty again. Leases that ran out are ended first.
-- The line is waited for, at most 250 ms. One row ends the answer: served ({"more", "repeated"}), queue_not_found,
-- ttl_too_long or request_id_reused. The same holder and request_id again: the same leases, those that are still held, and
-- nothing new. Rows without item tell what happened to other claims.
create or replace function signalbox_v1.clean(
  p_queue text, p_holder text, p_ttl_ms integer default null, p_max integer default 1, p_request_id text default null
) returns setof signalbox_v1.decision
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '250ms'
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
declare
  v_line signalbox.lines;
  v_settings signalbox.queues;
  v_may_clean boolean;
  v_asked text;
  v_newest_token bigint;
  v_slot integer;
  v_lease signalbox.leases;
  v_given jsonb := '[]';
  v_is_quarantined boolean;
begin
  perform signalbox.require_read_committed();
  select * into v_settings from signalbox.queues q where q.queue = p_queue;
  if p_ttl_ms > v_settings.max_ttl_ms then
    return next (0, 'ttl_too_long', p_queue, null,
      jsonb_build_object('max_ttl_ms', v_settings.max_ttl_ms))::signalbox_v1.decision;
    return;
  end if;
  -- As in take: an idle cleaner locks and writes nothing, and a repeat that finds nothing left finds what was given.
  v_may_clean := signalbox.may_clean(p_queue);
  v_asked := signalbox.open_take(p_holder, p_request_id, '!' || p_queue, false, v_may_clean);
  if v_asked = 'reused' then
    return next (0, 'request_id_reused', p_queue, p_request_id, null)::signalbox_v1.decision;
    return;
  elsif v_asked = 'repeated' then
    return query select * from signalbox.repeat_clean(p_holder, p_request_id);
    return next (0, 'served', p_queue, null,
      jsonb_build_object('more', false, 'repeated', true))::signalbox_v1.decision;
    return;
  end if;
  if v_may_clean then
    perform 1 from signalbox.lines n where n.queue = p_queue for no key update;
  end if;
  select * into v_line from signalbox.lines n where n.queue = p_queue;
  if v_line.queue is null then
    perform signalbox.close_take(p_holder, p_request_id, false, '[]');
    return next (0, 'queue_not_found', p_queue, null, null)::signalbox_v1.decision;
    return;
  end if;
  if v_may_clean and v_line.cleanup then
    if exists (
      select 1 from signalbox.leases l
      where l.queue = p_queue and l.state = 'held' and l.expires_at <= signalbox.clock()) then
      return query select * from signalbox.advance_line(p_queue);
    end if;
    -- Behind the lock: the settings, and the newest token (a renewal changes none).
    select * into v_settings from signalbox.queues q where q.queue = p_queue;
    select * into v_line from signalbox.lines n where n.queue = p_queue;
    v_newest_token := (signalbox.count_slots(v_line)).newest_token;
    -- Who believes in a slot that a failover lost is not to be cleaned away.
    v_is_quarantined := signalbox.quarantine_end(p_queue, signalbox.failover_at()) is not null;
    for v_slot in
      select l.slot from signalbox.leases l
      where l.queue = p_queue and l.state = 'free' and l.free_after = 'infinity' and not v_is_quarantined
        and (l.rests_until is null or l.rests_until <= signalbox.clock())
      order by l.ended_at, l.slot limit p_max
    loop
      v_lease := signalbox.clean_slot(v_line, v_slot, p_holder,
        least(coalesce(p_ttl_ms, v_settings.default_ttl_ms), v_settings.max_ttl_ms), v_settings.max_hold_ms, v_newest_token);
      v_newest_token := v_lease.fencing_token;
      v_given := v_given || jsonb_build_object('queue', p_queue, 'claim_id', v_lease.claim_id, 'fencing_token',
        v_lease.fencing_token);
      return next (0, 'cleaning', p_queue, v_lease.claim_id, signalbox.cleaning_body(v_lease))::signalbox_v1.decision;
    end loop;
  end if;
  perform signalbox.close_take(p_holder, p_request_id, false, v_given);
  return next (0, 'served', p_queue, null, jsonb_build_object('more',
    v_given <> '[]' and signalbox.may_clean(p_queue), 'repeated', false))::signalbox_v1.decision;
end $$;
