-- The moving average of a slot's holds after one more: a quarter of what is new, so a change shows after about four grants.
create or replace function signalbox.typical_hold_ms(p_before_ms bigint, p_acquired_at timestamptz, p_ended_at timestamptz)
returns bigint
language sql immutable
as $$
  select (coalesce(p_before_ms * 3 + h.held_ms, h.held_ms * 4) / 4)
  from (select signalbox.ms_until(p_ended_at, p_acquired_at) as held_ms) h
$$;
