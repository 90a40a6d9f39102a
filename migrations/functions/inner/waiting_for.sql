-- Why a claim waits: the one definition behind the HTTP answers, the views and the metrics.
create or replace function signalbox.waiting_for(
  p_line signalbox.lines, p_position bigint, p_held bigint, p_delayed bigint
) returns text
language sql immutable
as $$
  select case
    when p_line.paused then 'paused'
    when p_line.concurrency_limit = 0 then 'limit_zero'
    when p_position > 1 then 'behind_others'
    when p_delayed > 0 and p_held < p_line.concurrency_limit then 'lock_delay'
    else 'no_free_slot' end
$$;
