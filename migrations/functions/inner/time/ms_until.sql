-- Whole milliseconds from now until p_at, never negative, rounded down: a holder is never told too much.
create or replace function signalbox.ms_until(p_at timestamptz, p_now timestamptz) returns bigint
language sql immutable parallel safe
as $$ select greatest(0, floor(extract(epoch from p_at - p_now) * 1000))::bigint $$;
