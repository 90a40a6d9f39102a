-- Why a claim or run waits, as a sentence for whoever is woken at night: the words of waiting_for with their figures. For people:
-- programs read waiting_for. p_rounds_ahead: of a queue in rotation, so that nobody wonders who goes before it and came later.
create or replace function signalbox.why(
  p_line signalbox.lines, p_waiting_for text, p_position bigint, p_held bigint, p_blocked_by jsonb,
  p_estimated_wait_ms bigint, p_weight integer default 1, p_rounds_ahead bigint default null
) returns text
language sql stable
as $$
  select case p_waiting_for
      when 'no_free_slot' then format('next in line%s; %s',
        case when p_weight > 1 then format(' for %s places', least(p_weight, p_line.concurrency_limit)) else '' end, h.held)
      when 'behind_others' then format('%s ahead%s; %s', p_position - 1, case
          when p_rounds_ahead = 1 then ', its turn comes in the next round'
          when p_rounds_ahead > 1 then format(', its turn comes in %s rounds', p_rounds_ahead) else '' end, h.held)
      when 'paused' then 'the queue is paused'
      when 'limit_zero' then 'the limit of the queue is 0'
      when 'lock_delay' then 'next in line; a place is empty for lock_delay_ms after its holder was lost'
      when 'cleanup' then 'next in line; places wait for a cleaner'
      when 'other_queue' then 'next in line here; another of its queues has no place'
      when 'quarantine' then 'the database failed over a short time ago; old holders may believe that they hold still'
      when 'taker' then 'it may be taken; no worker has asked'
      when 'blocked' then 'a run before it failed or waits for its retry, and on_failure keeps those behind it'
      else replace(p_waiting_for, '_', ' ') end
    || coalesce('; about ' || case
        when p_estimated_wait_ms is null then null
        when p_estimated_wait_ms < 1000 then 'a second'
        when p_estimated_wait_ms < 120000 then format('%s s', round(p_estimated_wait_ms / 1000.0))
        when p_estimated_wait_ms < 7200000 then format('%s min', round(p_estimated_wait_ms / 60000.0))
        else format('%s h', round(p_estimated_wait_ms / 3600000.0)) end || ' to go', '')
  from (select format('%s of %s places taken', p_held, coalesce(p_line.concurrency_limit::text, 'unlimited'))
      || coalesce(', by ' || nullif(p_blocked_by #>> '{0,holder}', '')
        || case when jsonb_array_length(p_blocked_by) > 1 then ' and others' else '' end, '') as held) h
$$;
