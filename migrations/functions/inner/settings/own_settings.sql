-- The names of the settings that are a queue's own. Of one configured before that was remembered: its limit, which somebody
-- may rely on, and whatever is not the default. As its owner, since the
-- reader of a view calls it.
create or replace function signalbox.own_settings(p_line signalbox.lines, p_queue signalbox.queues) returns text[]
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
  select case
    when p_queue.own_settings is not null then p_queue.own_settings
    when p_queue.auto_created then '{}'
    else array(
      select s.key from jsonb_each(signalbox.settings_of(p_line, p_queue)) s
      where s.key = 'concurrency_limit' or s.value <> signalbox.default_settings() -> s.key
      order by s.key collate "C")
  end
$$;
