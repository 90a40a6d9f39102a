-- Takes the leadership if it is free or expired. won = false says who has it and for how long. A holder calling it on
-- its own fresh term gets false: renewing is renew_term. A missing row is made again, above every epoch ever recorded.
create or replace function signalbox_v1.campaign(p_replica_id text, p_lease_ms integer)
returns table (won boolean, leader text, epoch bigint, remaining_ms bigint)
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '250ms'
as $$
declare
  v_lock signalbox.orchestrator_lock;
  v_now timestamptz;
begin
  perform signalbox.require_read_committed();
  if coalesce(trim(p_replica_id), '') = '' then
    raise exception 'signalbox: a replica id must not be blank (blank means free)' using errcode = '22023';
  end if;
  if p_lease_ms is null or p_lease_ms <= 0 then
    raise exception 'signalbox: a leader lease must be longer than 0 ms' using errcode = '22023';
  end if;
  select * into v_lock from signalbox.orchestrator_lock l where l.id = 1 for update;
  if not found then
    insert into signalbox.orchestrator_lock (id, leader, epoch, acquired_at, renewed_at, expires_at)
      select 1, '', coalesce(max(t.epoch), 0), signalbox.clock(), signalbox.clock(), signalbox.clock()
      from signalbox.terms t
      on conflict (id) do nothing;
    select * into v_lock from signalbox.orchestrator_lock l where l.id = 1 for update;
  end if;
  v_now := signalbox.clock();
  if v_lock.leader <> '' and v_lock.expires_at >= v_now then
    return query select false, v_lock.leader, v_lock.epoch, signalbox.ms_until(v_lock.expires_at, v_now);
    return;
  end if;
  update signalbox.terms t set ended_at = v_now, end_reason = 'taken_over'
    where t.epoch = v_lock.epoch and t.ended_at is null;
  v_lock.epoch := 1 + greatest(v_lock.epoch, (select coalesce(max(t.epoch), 0) from signalbox.terms t));
  -- A failover may have lost the last terms: after one, epochs follow the clock (ms since 2026), so that none comes again. A
  -- leader whose term was lost writes nothing (require_term), and finds out when it renews.
  if signalbox.current_timeline() > '00000001' then
    v_lock.epoch := greatest(v_lock.epoch, signalbox.token_floor() / 1000);
  end if;
  update signalbox.orchestrator_lock l
    set leader = p_replica_id, epoch = v_lock.epoch, acquired_at = v_now, renewed_at = v_now,
        expires_at = v_now + signalbox.ms(p_lease_ms)
    where l.id = 1;
  insert into signalbox.terms (epoch, leader, started_at) values (v_lock.epoch, p_replica_id, v_now);
  perform signalbox.record_event('term.started', null, null,
    jsonb_build_object('leader', p_replica_id, 'epoch', v_lock.epoch));
  return query select true, p_replica_id, v_lock.epoch, p_lease_ms::bigint;
end $$;
