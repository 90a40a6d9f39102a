-- A replica that stops in order takes its row with it.
create or replace function signalbox_v1.retire_replica(p_replica_id text) returns void
language sql security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '250ms'
as $$
  delete from signalbox.replicas r where r.replica_id = p_replica_id
$$;
