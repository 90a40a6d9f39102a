-- Writes back what was decided about a merge queue at p_decided_at_ms (by the database's clock) on its version p_version, 0 =
-- there was none of the name. False = nothing was written, decide again: somebody else has written meanwhile, the database
-- has failed over, or the decision is older than 5 s, as that of a process that was paused. p_change: owner, repo, base_ref,
-- settings, window_started_at_ms, fencing_token, due_at_ms, has_news, failover_at_ms (what it was decided on), requests (all
-- of them), events and ended (what to tell).
-- With p_leader the write is one of the leader's: SB001 if the term is over.
create or replace function signalbox_v1.save_merge_queue(
  p_queue text, p_version bigint, p_decided_at_ms bigint, p_change jsonb, p_leader text default null,
  p_epoch bigint default null
) returns boolean
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '2s'
set plan_cache_mode = force_generic_plan
as $$
declare
  v_now timestamptz;
  v_version bigint := p_version;
  v_settings jsonb := p_change -> 'settings';
begin
  perform signalbox.require_read_committed();
  if p_leader is not null then
    perform signalbox.require_term(p_leader, p_epoch);
  end if;
  -- Decided on what another server had, which may have had more than this one.
  if signalbox.ms_of(signalbox.failover_at()) is distinct from (p_change ->> 'failover_at_ms')::bigint then
    return false;
  end if;
  if p_version = 0 then
    -- Versions begin where those of a deleted queue of the name never were: a decision made on that one meets none of them.
    insert into signalbox.merge_queues (queue, owner, repo, base_ref, stabilisation_ms, ttl_ms, expected_count, delay_count,
      version, window_started_at, used_at, created_at, updated_at)
    select p_queue, p_change ->> 'owner', p_change ->> 'repo', p_change ->> 'base_ref',
      (v_settings ->> 'stabilisation_ms')::bigint, (v_settings ->> 'ttl_ms')::bigint,
      (v_settings ->> 'expected_count')::integer, (v_settings ->> 'delay_count')::integer, signalbox.token_floor(),
      signalbox.at_ms((p_change ->> 'window_started_at_ms')::bigint), signalbox.clock(), signalbox.clock(), signalbox.clock()
    where signalbox.clock() < signalbox.at_ms(p_decided_at_ms) + interval '5 seconds'
    on conflict (queue) do nothing
    returning version into v_version;
    if not found then
      return false;
    end if;
  end if;
  -- A decision that waited here for the lock meets the newer version. Versions follow the clock as tokens do: after a
  -- failover that lost some, what was decided on one of those meets none.
  update signalbox.merge_queues q
    set version = greatest(q.version + 1, signalbox.token_floor()), news = q.news + (p_change ->> 'has_news')::boolean::integer,
        window_started_at = signalbox.at_ms((p_change ->> 'window_started_at_ms')::bigint),
        fencing_token = greatest(q.fencing_token, (p_change ->> 'fencing_token')::bigint),
        due_at = signalbox.at_ms((p_change ->> 'due_at_ms')::bigint), used_at = signalbox.clock(),
        stabilisation_ms = (v_settings ->> 'stabilisation_ms')::bigint, ttl_ms = (v_settings ->> 'ttl_ms')::bigint,
        expected_count = (v_settings ->> 'expected_count')::integer, delay_count = (v_settings ->> 'delay_count')::integer
    where q.queue = p_queue and q.version = v_version
      and signalbox.clock() < signalbox.at_ms(p_decided_at_ms) + interval '5 seconds';
  if not found then
    return false;
  end if;
  v_now := signalbox.clock();
  delete from signalbox.merge_requests r
    where r.queue = p_queue
      and r.head_sha not in (select x ->> 'head_sha' from jsonb_array_elements(p_change -> 'requests') x);
  insert into signalbox.merge_requests as r (queue, head_sha, head_ref, priority, status, request_id, registered_at,
    last_seen_at, hold_ttl_ms, delays_counted, fencing_token, acquired_at, expires_at, ended_at, is_known)
  select p_queue, x.head_sha, x.head_ref, x.priority, x.status, x.request_id, signalbox.at_ms(x.registered_at_ms),
    signalbox.at_ms(x.last_seen_at_ms), x.hold_ttl_ms, x.delays_counted, x.fencing_token, signalbox.at_ms(x.acquired_at_ms),
    signalbox.at_ms(x.expires_at_ms), signalbox.at_ms(x.ended_at_ms), x.is_known
  from jsonb_to_recordset(p_change -> 'requests') as x(head_sha text, head_ref text, priority bigint, status text,
    request_id text, registered_at_ms bigint, last_seen_at_ms bigint, hold_ttl_ms bigint, delays_counted integer, fencing_token bigint,
    acquired_at_ms bigint, expires_at_ms bigint, ended_at_ms bigint, is_known boolean)
  on conflict (queue, head_sha) do update
    set head_ref = excluded.head_ref, priority = excluded.priority, status = excluded.status,
        request_id = excluded.request_id, registered_at = excluded.registered_at, last_seen_at = excluded.last_seen_at,
        hold_ttl_ms = excluded.hold_ttl_ms, delays_counted = excluded.delays_counted, fencing_token = excluded.fencing_token,
        acquired_at = excluded.acquired_at, expires_at = excluded.expires_at, ended_at = excluded.ended_at,
        is_known = excluded.is_known
    where (r.head_ref, r.priority, r.status, r.request_id, r.registered_at, r.last_seen_at, r.hold_ttl_ms, r.delays_counted,
           r.fencing_token, r.acquired_at, r.expires_at, r.ended_at, r.is_known)
      is distinct from (excluded.head_ref, excluded.priority, excluded.status, excluded.request_id, excluded.registered_at,
           excluded.last_seen_at, excluded.hold_ttl_ms, excluded.delays_counted, excluded.fencing_token, excluded.acquired_at,
           excluded.expires_at, excluded.ended_at, excluded.is_known);
  insert into signalbox.events (at, type, queue, claim_id, data)
    select v_now, x.event ->> 'type', p_queue, x.event ->> 'claim_id', x.event -> 'data'
    from jsonb_array_elements(p_change -> 'events') with ordinality as x(event, n) order by x.n;
  -- When it was decided, as of the grants that follow: with the time of the write two would seem to be held at once.
  insert into signalbox.history (queue, claim_id, holder, state, reason, outcome, final, slot, fencing_token, priority, mode,
    labels, metadata, enqueued_at, acquired_at, expires_at, ended_at, actor, kind)
  select p_queue, x.claim_id, x.holder, x.state, x.reason, x.outcome, true,
    case when x.fencing_token is not null then 1 end, x.fencing_token, least(x.priority, 2147483647)::integer, 'wait',
    '{}', x.metadata, signalbox.at_ms(x.registered_at_ms), signalbox.at_ms(x.acquired_at_ms),
    signalbox.at_ms(x.expires_at_ms), signalbox.at_ms(p_decided_at_ms), x.actor, 'merge_request'
  from jsonb_to_recordset(p_change -> 'ended') as x(claim_id text, holder text, state text, reason text, outcome text,
    fencing_token bigint, priority bigint, metadata jsonb, registered_at_ms bigint, acquired_at_ms bigint,
    expires_at_ms bigint, actor text);
  return true;
end $$;
