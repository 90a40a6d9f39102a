-- Leader's chore: merge queues that were made on first use, never configured, in which there is no build, and that nobody has
-- used for p_idle_ms. At most p_max; returns how many went.
create or replace function signalbox_v1.sweep_idle_merge_queues(
  p_leader text, p_epoch bigint, p_idle_ms bigint, p_max integer default 100
) returns integer
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '250ms'
as $$
declare
  v_queue text;
  v_gone integer := 0;
begin
  perform signalbox.require_term(p_leader, p_epoch);
  for v_queue in
    select q.queue from signalbox.merge_queues q
    where q.auto_created and q.used_at < signalbox.clock() - signalbox.ms(p_idle_ms)
      and not exists (select 1 from signalbox.merge_requests r where r.queue = q.queue)
    order by q.queue limit p_max for update skip locked
  loop
    -- Locked now; somebody may have registered between the look and the lock.
    continue when exists (select 1 from signalbox.merge_requests r where r.queue = v_queue);
    delete from signalbox.merge_queues q where q.queue = v_queue;
    perform signalbox.record_event('merge_queue.deleted', v_queue, null, jsonb_build_object('detail', 'idle'));
    v_gone := v_gone + 1;
  end loop;
  return v_gone;
end $$;
