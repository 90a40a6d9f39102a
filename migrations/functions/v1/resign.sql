-- Gives up exactly this term: the row expires now and is free at once. False = it was not this replica's term.
create or replace function signalbox_v1.resign(p_replica_id text, p_epoch bigint) returns boolean
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '250ms'
as $$
declare
  v_now timestamptz;
begin
  perform signalbox.require_read_committed();
  perform 1 from signalbox.orchestrator_lock l
    where l.id = 1 and l.leader = p_replica_id and l.epoch = p_epoch for update;
  if not found then
    return false;
  end if;
  v_now := signalbox.clock();
  update signalbox.orchestrator_lock l set leader = '', renewed_at = v_now, expires_at = v_now where l.id = 1;
  update signalbox.terms t set ended_at = v_now, end_reason = 'resigned' where t.epoch = p_epoch;
  perform signalbox.record_event('term.ended', null, null,
    jsonb_build_object('leader', p_replica_id, 'epoch', p_epoch, 'reason', 'resigned'));
  -- A hint for the other replicas: the lock is free now.
  perform pg_notify('signalbox', jsonb_build_object('from', p_replica_id, 'resigned', true)::text);
  return true;
end $$;
