-- Where in its line a claim or run stands that joins it now: smaller goes first, then the order of arrival. Fixed for good,
-- so nobody's place is ever written again. By the queue's settings:
--   neither of the following: a higher priority goes first.
--   priority_head_start_ms: the time it was asked for, in ms since 2026, moved forward by the head start for each unit of
--     priority. So a claim is passed only by those that came less than (difference in priority) x head start after it.
--   rotate_by: the turn of its label's value (see take_turn), a turn earlier for each unit of priority.
-- Places count from order_base, which a change of these settings raises beyond all that were given (see begin_order).
create or replace function signalbox.place_of(
  p_line signalbox.lines, p_settings signalbox.queues, p_kind text, p_priority integer, p_since timestamptz, p_labels jsonb
) returns bigint
language sql
as $$
  select case
    when p_settings.rotate_by is not null then p_line.order_base - p_priority * 1000::bigint
      + signalbox.take_turn(p_line.queue, p_kind, coalesce(p_labels ->> p_settings.rotate_by, ''))
    else signalbox.place_at(p_line.order_base, p_settings.priority_head_start_ms, p_priority, p_since) end
$$;
