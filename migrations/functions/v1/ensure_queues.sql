-- Makes queues that do not exist, with the defaults. A call of its own, made before the one that decides: creating and
-- locking in one call would lock in the order of arrival, and two calls could deadlock.
create or replace function signalbox_v1.ensure_queues(p_queues text[]) returns void
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '250ms'
as $$
begin
  perform signalbox.require_read_committed();
  insert into signalbox.queues (queue, auto_created, created_at, updated_at)
    select distinct u.queue collate "C", true, signalbox.clock(), signalbox.clock() from unnest(p_queues) u(queue)
    order by u.queue collate "C"
    on conflict (queue) do nothing;
  insert into signalbox.lines (queue)
    select distinct u.queue collate "C" from unnest(p_queues) u(queue) order by 1
    on conflict (queue) do nothing;
end $$;
