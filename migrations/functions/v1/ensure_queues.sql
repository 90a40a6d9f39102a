-- Makes queues that do not exist, with the defaults. A call of its own, made before the one that decides: creating and
-- locking in one call would lock in the order of arrival, and two calls could deadlock.
create or replace function signalbox_v1.ensure_queues(p_queues text[]) returns void
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '250ms'
as $$
begin
  perform signalbox.require_read_committed();
  -- A line only for settings made here: by a statement of its own it could be made for a queue that was deleted since.
  with made as (
    insert into signalbox.queues (queue, auto_created, created_at, updated_at)
      select distinct u.queue collate "C", true, signalbox.clock(), signalbox.clock() from unnest(p_queues) u(queue)
      order by u.queue collate "C"
      on conflict (queue) do nothing
      returning queue)
  insert into signalbox.lines (queue) select m.queue from made m on conflict (queue) do nothing;
end $$;
