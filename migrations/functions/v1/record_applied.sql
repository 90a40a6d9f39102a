-- Remembers what the apply of a file made. p_if_version: the version the caller last saw, 0 = none. Returns the new version;
-- null = somebody else applied it meanwhile.
create or replace function signalbox_v1.record_applied(
  p_label text, p_made jsonb, p_if_version bigint, p_actor text default null
) returns bigint
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '2s'
as $$
declare
  v_version bigint;
begin
  perform signalbox.require_read_committed();
  if p_if_version = 0 then
    insert into signalbox.applied_files (label, made, applied_at, applied_by)
      values (p_label, p_made, signalbox.clock(), p_actor)
      on conflict (label) do nothing returning version into v_version;
  else
    update signalbox.applied_files f
      set made = p_made, version = f.version + 1, applied_at = signalbox.clock(), applied_by = p_actor
      where f.label = p_label and f.version = p_if_version
      returning f.version into v_version;
  end if;
  return v_version;
end $$;
