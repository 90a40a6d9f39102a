-- What the last round of a leader's chore did, for people to read.
create or replace function signalbox_v1.record_chore(
  p_leader text, p_epoch bigint, p_chore text, p_duration_ms integer, p_counts jsonb, p_error text
) returns void
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '250ms'
as $$
declare
  v_now timestamptz := signalbox.clock();
begin
  perform signalbox.require_term(p_leader, p_epoch);
  insert into signalbox.chores as c (chore, epoch, finished_at, duration_ms, counts, last_error, last_error_at)
    values (p_chore, p_epoch, v_now, p_duration_ms, coalesce(p_counts, '{}'), p_error,
      case when p_error is not null then v_now end)
    on conflict (chore) do update set
      epoch = excluded.epoch, duration_ms = excluded.duration_ms,
      finished_at = case when p_error is null then excluded.finished_at else c.finished_at end,
      counts = case when p_error is null then excluded.counts else c.counts end,
      last_error = coalesce(excluded.last_error, c.last_error),
      last_error_at = coalesce(excluded.last_error_at, c.last_error_at);
end $$;
