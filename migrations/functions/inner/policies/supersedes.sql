-- Whether a newcomer ends an older claim while that waits: both are latest_only, the older one has no higher priority, and
-- both have the same value of the label that the queue's supersede_by names ('' = none).
create or replace function signalbox.supersedes(
  p_settings signalbox.queues, p_mode text, p_priority integer, p_labels jsonb,
  p_older_mode text, p_older_priority integer, p_older_labels jsonb
) returns boolean
language sql immutable
as $$
  select p_mode = 'latest_only' and p_older_mode = 'latest_only' and p_older_priority <= p_priority
    and (p_settings.supersede_by is null
      or coalesce(p_older_labels ->> p_settings.supersede_by, '') = coalesce(p_labels ->> p_settings.supersede_by, ''))
$$;
