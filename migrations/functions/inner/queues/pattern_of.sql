-- The settings that the pattern with the longest fitting prefix gives a queue; none = an empty document.
create or replace function signalbox.pattern_of(p_queue text) returns jsonb
language sql stable
as $$
  select coalesce((
    select p.settings from signalbox.queue_patterns p
    where p.settings is not null and starts_with(p_queue, left(p.pattern, -1))
    order by length(p.pattern) desc limit 1), '{}')
$$;
