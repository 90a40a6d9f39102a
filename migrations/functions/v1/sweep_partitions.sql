-- The leader's chore of make_partitions. Needs no free slot or line, so it never blocks a grant.
create or replace function signalbox_v1.sweep_partitions(p_leader text, p_epoch bigint, p_days_ahead integer)
returns integer
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '2s'
as $$
begin
  perform signalbox.require_term(p_leader, p_epoch);
  return signalbox.make_partitions(p_days_ahead);
end $$;
