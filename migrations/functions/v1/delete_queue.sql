-- Deletes a queue. With holders or waiting claims only if p_force: then they end as broken. Tokens of a queue made
-- again under the name are still higher. One call ends at most p_max claims: code deleting = it is paused now, call again.
-- Codes: deleted, deleting, queue_in_use, queue_not_found, version_mismatch.
create or replace function signalbox_v1.delete_queue(
  p_queue text, p_force boolean default false, p_if_version bigint default null, p_actor text default null,
  p_max integer default 1000
) returns setof signalbox_v1.decision
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '2s'
as $$
declare
  v_line signalbox.lines;
  v_version bigint;
  v_memory_ms integer;
  v_held bigint;
  v_waiting bigint;
  v_lease signalbox.leases;
  v_claim signalbox.waiting;
begin
  perform signalbox.require_read_committed();
  perform 1 from signalbox.lines n where n.queue = p_queue for no key update;
  if not found then
    return next (0, 'queue_not_found', p_queue, null, null)::signalbox_v1.decision;
    return;
  end if;
  select * into v_line from signalbox.lines n where n.queue = p_queue;
  select q.version, q.claim_memory_ms into v_version, v_memory_ms from signalbox.queues q where q.queue = p_queue;
  if p_if_version is not null and p_if_version <> v_version then
    return next (0, 'version_mismatch', p_queue, null, jsonb_build_object('version', v_version))::signalbox_v1.decision;
    return;
  end if;
  select count(*) into v_held from signalbox.leases l where l.queue = p_queue and l.state = 'held';
  select count(*) into v_waiting from signalbox.waiting w where w.queue = p_queue;
  if not p_force and v_held + v_waiting > 0 then
    return next (0, 'queue_in_use', p_queue, null,
      jsonb_build_object('held', v_held, 'waiting', v_waiting))::signalbox_v1.decision;
    return;
  end if;
  for v_lease in select * from signalbox.leases l where l.queue = p_queue and l.state = 'held' order by l.slot limit p_max loop
    perform signalbox.end_lease(v_line, v_lease, 'broken', 'broken', p_actor => p_actor, p_detail => 'queue_deleted');
    return next (null, 'ended', p_queue, v_lease.claim_id,
      signalbox.ended_claim(p_queue, v_lease.claim_id, v_memory_ms))::signalbox_v1.decision;
  end loop;
  for v_claim in select * from signalbox.waiting w where w.queue = p_queue order by w.priority desc, w.seq limit greatest(0, p_max - v_held) loop
    perform signalbox.end_waiting(v_claim, 'broken', 'broken', p_actor, 'queue_deleted');
    return next (null, 'ended', p_queue, v_claim.claim_id,
      signalbox.ended_claim(p_queue, v_claim.claim_id, v_memory_ms))::signalbox_v1.decision;
  end loop;
  if v_held + v_waiting > p_max then
    update signalbox.lines n set paused = true where n.queue = p_queue;
    return next (0, 'deleting', p_queue, null, null)::signalbox_v1.decision;
    return;
  end if;
  perform signalbox.remove_queue(p_queue);
  perform signalbox.record_event('queue.deleted', p_queue, null,
    jsonb_strip_nulls(jsonb_build_object('forced', p_force, 'actor', p_actor)));
  return next (0, 'deleted', p_queue, null, null)::signalbox_v1.decision;
end $$;
