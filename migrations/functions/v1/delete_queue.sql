-- Deletes a queue. With anything in it (holders, claims and runs that wait or are delayed, dead letters) only if p_force:
-- then claims and runs end as broken, and dead letters go. Tokens of a queue made again under the name are still higher.
-- One call ends at most p_max of them: code deleting = it is paused now, call again.
-- Codes: deleted, deleting, queue_in_use, queue_not_found, version_mismatch.
create or replace function signalbox_v1.delete_queue(
  p_queue text, p_force boolean default false, p_if_version bigint default null, p_actor text default null,
  p_max integer default 1000
) returns setof signalbox_v1.decision
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '2s'
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
declare
  v_line signalbox.lines;
  v_version bigint;
  v_memory_ms integer;
  v_held bigint;
  v_inbox bigint;
  v_lease signalbox.leases;
  v_waiting signalbox.waiting;
  v_delayed signalbox.delayed;
  v_letters text[];
  v_left integer := p_max;
begin
  perform signalbox.require_read_committed();
  perform 1 from signalbox.lines n where n.queue = p_queue for no key update;
  if not found then
    return next (0, 'queue_not_found', p_queue, null, null)::signalbox_v1.decision;
    return;
  end if;
  select q.version, q.claim_memory_ms into v_version, v_memory_ms from signalbox.queues q where q.queue = p_queue;
  if p_if_version is not null and p_if_version <> v_version then
    return next (0, 'version_mismatch', p_queue, null, jsonb_build_object('version', v_version))::signalbox_v1.decision;
    return;
  end if;
  perform signalbox.move_inbox(p_queue, p_max);
  select * into v_line from signalbox.lines n where n.queue = p_queue;
  select count(*) into v_held from signalbox.leases l where l.queue = p_queue and l.state = 'held';
  select count(*) into v_inbox from signalbox.inbox b where b.queue = p_queue;
  if not p_force and v_held + v_inbox + v_line.waiting + v_line.runs + v_line.delayed + v_line.dead
      + v_line.dirty > 0 then
    return next (0, 'queue_in_use', p_queue, null, jsonb_build_object('held', v_held,
      'waiting', v_line.waiting + v_line.runs + v_inbox, 'delayed', v_line.delayed,
      'dead_letters', v_line.dead, 'dirty', v_line.dirty))::signalbox_v1.decision;
    return;
  end if;
  for v_lease in
    select * from signalbox.leases l where l.queue = p_queue and l.state = 'held' order by l.slot limit v_left
  loop
    perform signalbox.end_lease(v_line, v_lease, 'broken', 'broken', p_actor => p_actor, p_detail => 'queue_deleted');
    v_left := v_left - 1;
    return next (null, 'ended', p_queue, v_lease.claim_id,
      signalbox.ended_claim(p_queue, v_lease.claim_id, v_memory_ms))::signalbox_v1.decision;
  end loop;
  for v_waiting in
    select * from signalbox.waiting w where w.queue = p_queue and w.kind <> '' order by w.queue, w.kind, w.place, w.seq, w.rank limit v_left
  loop
    perform signalbox.end_waiting(signalbox.in_line(v_waiting), 'broken', 'broken', p_actor, 'queue_deleted');
    v_left := v_left - 1;
    if signalbox.is_elsewhere(v_waiting.joint, p_queue) then
      -- With its ticket here the whole claim ends; whoever waits for it asks there.
      return next signalbox.stir(array_remove(signalbox.queues_of(v_waiting.joint), p_queue));
    else
      return next (null, 'ended', p_queue, v_waiting.claim_id,
        signalbox.ended_claim(p_queue, v_waiting.claim_id, v_memory_ms))::signalbox_v1.decision;
    end if;
  end loop;
  for v_delayed in
    select * from signalbox.delayed d where d.queue = p_queue and d.kind <> '' order by d.queue, d.due_at limit v_left
  loop
    perform signalbox.end_waiting(v_delayed, 'broken', 'broken', p_actor, 'queue_deleted');
    v_left := v_left - 1;
    return next (null, 'ended', p_queue, v_delayed.claim_id,
      signalbox.ended_claim(p_queue, v_delayed.claim_id, v_memory_ms))::signalbox_v1.decision;
  end loop;
  v_letters := signalbox.letters_of(p_queue, null, v_left, 'infinity');
  perform 1 from signalbox.drop_letters(p_queue, v_letters, p_actor, 'queue_deleted');
  v_left := v_left - cardinality(v_letters);
  -- What max_runs keeps from going into the line.
  v_left := v_left - signalbox.end_inbox(p_queue, v_left, p_actor, 'queue_deleted');
  if v_left <= 0 then
    update signalbox.lines n set paused = true where n.queue = p_queue;
    return next (0, 'deleting', p_queue, null, null)::signalbox_v1.decision;
    return;
  end if;
  perform signalbox.remove_queue(p_queue);
  perform signalbox.record_event('queue.deleted', p_queue, null,
    jsonb_strip_nulls(jsonb_build_object('forced', p_force, 'actor', p_actor)));
  return next (0, 'deleted', p_queue, null, null)::signalbox_v1.decision;
end $$;
