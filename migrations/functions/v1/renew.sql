-- Renews leases: [{"queue", "claim_id", "fencing_token", "ttl_ms", "holder", "shorten"}]; the holder only where it is to
-- be checked; shorten: a ttl_ms above the queue's max_ttl_ms is that. No line is locked; lease rows are, in (queue, slot)
-- order, before the clock is read, so that the new expiry counts from after any wait. Renewal succeeds while the row
-- bears the token, also just past expiry, and never moves expires_at back. It takes no place that somebody else took.
-- One row answers each item. With p_brief the body of a renewed lease says what changes (renewed_body); otherwise it is the
-- whole lease. A claim on several queues is renewed in its own queue, with all of its places or not at all.
create or replace function signalbox_v1.renew(p_items jsonb, p_brief boolean default false)
returns setof signalbox_v1.decision
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '250ms'
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
as $$
declare
  v_decisions signalbox_v1.decision[];
  v_answered integer[];
  v_item record;
  v_line signalbox.lines;
  v_lease signalbox.leases;
  v_settings signalbox.queues;
  v_reason text;
  v_now timestamptz;
  v_expired_at timestamptz; -- as it was before
begin
  perform signalbox.require_read_committed();

  -- The usual ones first, all in one statement; what that leaves is decided one by one.
  v_decisions := signalbox.renew_fitting(p_items);
  if not p_brief then
    v_decisions := signalbox.whole_leases(v_decisions);
  end if;
  return query select * from unnest(v_decisions);
  if cardinality(v_decisions) = jsonb_array_length(p_items) then
    return;
  end if;
  v_answered := array(select d.item from unnest(v_decisions) d);

  for v_item in
    select (x.ordinality - 1)::integer as item, x.*
    from rows from (jsonb_to_recordset(p_items) as (queue text, claim_id text, fencing_token bigint, ttl_ms integer,
      holder text, shorten boolean)) with ordinality x
    where x.ordinality - 1 <> all(v_answered)
    order by x.ordinality
  loop
    select * into v_line from signalbox.lines n where n.queue = v_item.queue;
    if not found then
      v_reason := coalesce(signalbox.ended_token_reason(v_item.queue, v_item.claim_id, v_item.fencing_token),
        case when signalbox.lost_in_failover(null, v_item.queue, v_item.fencing_token) then 'failover' end);
      return next (v_item.item, case when v_reason is null then 'queue_not_found' else 'lease_lost' end, v_item.queue,
        v_item.claim_id, jsonb_build_object('reason', v_reason))::signalbox_v1.decision;
      continue;
    end if;
    v_now := signalbox.clock();
    v_lease := signalbox.find_lease(v_line, v_item.claim_id);
    if v_lease.state = 'held' and signalbox.is_elsewhere(v_lease.joint, v_item.queue) then
      return next (v_item.item, 'not_primary', v_item.queue, v_item.claim_id,
        signalbox.joint_body(v_lease.joint, v_item.queue))::signalbox_v1.decision;
      continue;
    end if;
    if v_lease.state = 'held' and v_lease.fencing_token = v_item.fencing_token
      and v_lease.holder = coalesce(v_item.holder, v_lease.holder)
      and (v_lease.hold_until is null or v_lease.hold_until > v_now) then
      select * into v_settings from signalbox.queues q where q.queue = v_item.queue;
      if v_lease.joint is not null then
        select min(q.max_ttl_ms) into v_settings.max_ttl_ms from signalbox.queues q
          where q.queue = any(signalbox.queues_of(v_lease.joint));
      end if;
      if v_item.shorten and v_item.ttl_ms > v_settings.max_ttl_ms then
        v_item.ttl_ms := v_settings.max_ttl_ms;
      end if;
      if v_item.ttl_ms > v_settings.max_ttl_ms then
        return next (v_item.item, 'ttl_too_long', v_item.queue, v_item.claim_id,
          jsonb_build_object('max_ttl_ms', v_settings.max_ttl_ms))::signalbox_v1.decision;
        continue;
      end if;
      if v_lease.joint is not null and not signalbox.lock_places(v_lease.joint) then
        -- One of its places has ended by itself, and with it the whole lease.
        return next (v_item.item, 'lease_lost', v_item.queue, v_item.claim_id,
          jsonb_build_object('reason', signalbox.lost_place_reason(v_lease)))::signalbox_v1.decision;
        continue;
      end if;
      v_expired_at := v_lease.expires_at;
      update signalbox.leases l
        set renewed_at = v_now, ttl_ms = coalesce(v_item.ttl_ms, l.ttl_ms), offered = false,
            expires_at = greatest(l.expires_at,
              least(l.hold_until, v_now + signalbox.ms(coalesce(v_item.ttl_ms, l.ttl_ms))))
        where l.queue = v_lease.queue and l.slot = v_lease.slot and l.state = 'held' and l.claim_id = v_item.claim_id
          and l.fencing_token = v_item.fencing_token
        returning * into v_lease;
      if found then
        if v_lease.joint is not null then
          update signalbox.leases l
            set renewed_at = v_lease.renewed_at, ttl_ms = v_lease.ttl_ms, offered = false, expires_at = v_lease.expires_at
            from jsonb_to_recordset(v_lease.joint -> 'places') as x(queue text, slot integer)
            where l.queue = x.queue and l.slot = x.slot and l.queue <> v_lease.queue;
        end if;
        if v_expired_at <= v_now then
          perform signalbox.tell_late_renewal(v_lease, v_expired_at, v_now);
        end if;
        return next (v_item.item, 'renewed', v_item.queue, v_item.claim_id,
          case when p_brief then signalbox.renewed_body(v_lease.fencing_token, v_lease.slot, v_lease.release_requested,
              v_now, v_lease.expires_at)
            else signalbox.lease_body(v_lease) end)::signalbox_v1.decision;
        continue;
      end if;
      v_lease := signalbox.find_lease(v_line, v_item.claim_id);
    end if;
    v_reason := case
      when v_lease.fencing_token = v_item.fencing_token and v_lease.state = 'held'
        then case when v_lease.holder = coalesce(v_item.holder, v_lease.holder) then 'max_hold' end
      when v_lease.fencing_token = v_item.fencing_token
        then signalbox.grant_end_reason(v_lease.end_state, v_lease.end_reason, v_lease.outcome)
      else signalbox.ended_token_reason(v_item.queue, v_item.claim_id, v_item.fencing_token) end;
    if v_reason is null and signalbox.lost_in_failover(v_line, v_item.queue, v_item.fencing_token) then
      v_reason := 'failover';
    end if;
    return next (v_item.item,
      case when v_reason is null then signalbox.mismatch_code(v_line, v_item.claim_id) else 'lease_lost' end,
      v_item.queue, v_item.claim_id, jsonb_build_object('reason', v_reason))::signalbox_v1.decision;
  end loop;
end $$;
