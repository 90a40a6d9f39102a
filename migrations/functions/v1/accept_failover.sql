-- An operator's word that the last failover lost nothing, or that nobody holds on to what it lost: all quarantines end. False =
-- there is none to accept, or, where p_timeline is given, it is not the one whose timeline the operator has seen. What waits is
-- served within about a second.
create or replace function signalbox_v1.accept_failover(p_actor text, p_timeline text default null) returns boolean
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '2s'
set plan_cache_mode = force_generic_plan
as $$
begin
  perform signalbox.require_read_committed();
  if coalesce(trim(p_actor), '') = '' then
    raise exception 'signalbox: say who accepts the failover' using errcode = '22023';
  end if;
  perform signalbox.failover_at();
  update signalbox.timeline t set accepted_at = signalbox.clock(), accepted_by = p_actor
    where t.id = 1 and t.changed_at is not null and t.accepted_at is null
      and (p_timeline is null or t.timeline = p_timeline);
  if not found then
    return false;
  end if;
  perform signalbox.record_event('database.failover_accepted', null, null, jsonb_build_object('actor', p_actor));
  return true;
end $$;
