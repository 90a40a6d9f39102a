-- Makes queues that do not exist, with the settings of their pattern and the defaults. A call of its own, made before the one
-- that decides: creating and locking in one call would lock in the order of arrival, and two calls could deadlock.
create or replace function signalbox_v1.ensure_queues(p_queues text[]) returns void
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '250ms'
as $$
begin
  perform signalbox.require_read_committed();
  perform signalbox.lock_patterns(false);
  perform signalbox.make_queues(p_queues, true);
end $$;
