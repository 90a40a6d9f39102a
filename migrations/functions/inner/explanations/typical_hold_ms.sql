-- The moving average of a slot's holds after one more: a quarter of what is new, so a change shows after about four grants.
-- (One expression, and no numeric: it is put into the statements that end grants.)
create or replace function signalbox.typical_hold_ms(p_before_ms bigint, p_acquired_at timestamptz, p_ended_at timestamptz)
returns bigint
language sql immutable
as $$
  select (coalesce(p_before_ms, (date_part('epoch', p_ended_at - p_acquired_at) * 1000)::bigint) * 3
    + (date_part('epoch', p_ended_at - p_acquired_at) * 1000)::bigint) / 4
$$;
