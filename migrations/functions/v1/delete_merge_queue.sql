-- Deletes a merge queue; with builds in it only if p_force: then they are gone. Tokens of a queue made again under the name
-- are still higher. Returns deleted, merge_queue_not_found, merge_queue_in_use or version_mismatch.
create or replace function signalbox_v1.delete_merge_queue(
  p_queue text, p_force boolean default false, p_if_version bigint default null, p_actor text default null
) returns text
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '2s'
as $$
declare
  v_version bigint;
begin
  perform signalbox.require_read_committed();
  perform 1 from signalbox.merge_queues q where q.queue = p_queue for update;
  select q.settings_version into v_version from signalbox.merge_queues q where q.queue = p_queue;
  if v_version is null then
    return 'merge_queue_not_found';
  elsif p_if_version is not null and p_if_version <> v_version then
    return 'version_mismatch';
  elsif not p_force and exists (
    select 1 from signalbox.merge_requests r where r.queue = p_queue and r.status in ('pending', 'acquired')) then
    return 'merge_queue_in_use';
  end if;
  delete from signalbox.merge_requests r where r.queue = p_queue;
  delete from signalbox.merge_queues q where q.queue = p_queue;
  perform signalbox.record_event('merge_queue.deleted', p_queue, null, jsonb_build_object('actor', p_actor));
  return 'deleted';
end $$;
