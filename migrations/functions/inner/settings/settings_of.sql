-- The settings of a queue as one document, as they are stored. As its owner, since the
-- reader of a view calls it.
create or replace function signalbox.settings_of(p_line signalbox.lines, p_queue signalbox.queues) returns jsonb
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
  select jsonb_object_agg(s.key, s.value)
  from jsonb_each(to_jsonb(p_queue) || jsonb_build_object(
    'concurrency_limit', p_line.concurrency_limit, 'paused', p_line.paused, 'closed', p_line.closed,
    'cleanup', p_line.cleanup)) s
  where signalbox.default_settings() ? s.key
$$;
