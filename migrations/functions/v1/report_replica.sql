-- A replica says that it is there. Nothing is decided by it.
create or replace function signalbox_v1.report_replica(p_replica_id text, p_version text, p_url text) returns void
language sql security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '250ms'
as $$
  insert into signalbox.replicas (replica_id, version, url, started_at, heard_at)
  values (p_replica_id, p_version, p_url, signalbox.clock(), signalbox.clock())
  on conflict (replica_id) do update set heard_at = excluded.heard_at, url = excluded.url, version = excluded.version
$$;
