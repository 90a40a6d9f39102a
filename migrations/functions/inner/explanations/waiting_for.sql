-- Why a claim or run waits: the one definition behind the HTTP answers, the views and the metrics. Runs hold no place until
-- somebody takes them: with room, they wait for a taker.
create or replace function signalbox.waiting_for(
  p_line signalbox.lines, p_position bigint, p_held bigint, p_delayed bigint, p_kind text default 'claim',
  p_blocked boolean default false, p_cleaning bigint default 0, p_quarantined boolean default false
) returns text
language sql immutable
as $$
  select case
    when p_line.paused then 'paused'
    when p_line.concurrency_limit = 0 then 'limit_zero'
    when p_quarantined then 'quarantine'
    when p_kind = 'run' and p_blocked then 'blocked'
    when p_kind = 'run' and p_line.waiting = 0
      and (p_line.concurrency_limit is null or p_held + p_delayed + p_cleaning + p_position <= p_line.concurrency_limit) then 'taker'
    when p_position > 1 then 'behind_others'
    when p_delayed > 0 and p_held + p_cleaning < p_line.concurrency_limit then 'lock_delay'
    when p_cleaning > 0 and p_held < p_line.concurrency_limit then 'cleanup'
    else 'no_free_slot' end
$$;
