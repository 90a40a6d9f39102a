-- Deletes a pattern; its queues get what they inherit without it by inherit_settings, call that next. The row stays until
-- they have. Codes: deleted (body: version, of the deletion), pattern_not_found, version_mismatch.
create or replace function signalbox_v1.delete_pattern(
  p_pattern text, p_if_version bigint default null, p_actor text default null
) returns setof signalbox_v1.decision
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '2s'
as $$
declare
  v_old signalbox.queue_patterns;
  v_version bigint;
begin
  perform signalbox.require_read_committed();
  perform signalbox.lock_patterns(true);
  select * into v_old from signalbox.queue_patterns p where p.pattern = p_pattern;
  if v_old.settings is null then
    return next (0, 'pattern_not_found', p_pattern, null, null)::signalbox_v1.decision;
    return;
  end if;
  if p_if_version is not null and p_if_version <> v_old.version then
    return next (0, 'version_mismatch', p_pattern, null,
      jsonb_build_object('version', v_old.version))::signalbox_v1.decision;
    return;
  end if;
  update signalbox.queue_patterns p
    set settings = null, version = nextval('signalbox.pattern_versions'), updated_at = signalbox.clock(), updated_by = p_actor
    where p.pattern = p_pattern returning p.version into v_version;
  perform signalbox.record_event('pattern.deleted', p_pattern, null,
    jsonb_build_object('version', v_version, 'actor', p_actor));
  return next (0, 'deleted', p_pattern, null, jsonb_build_object('version', v_version))::signalbox_v1.decision;
end $$;
