-- All queues have been given what this version of the pattern says. A deleted pattern goes with it. Nothing happens if it was
-- changed since: then that change has to reach them.
create or replace function signalbox_v1.finish_pattern(
  p_pattern text, p_version bigint, p_leader text default null, p_epoch bigint default null
) returns void
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '2s'
as $$
begin
  if p_leader is null then
    perform signalbox.require_read_committed();
  else
    perform signalbox.require_term(p_leader, p_epoch);
  end if;
  delete from signalbox.queue_patterns p
    where p.pattern = p_pattern and p.version = p_version and p.settings is null;
  update signalbox.queue_patterns p set reached_version = p_version
    where p.pattern = p_pattern and p.version = p_version;
end $$;
