-- The place of a claim asked for at p_since in a queue that does not rotate (see place_of), one expression for all who need it.
create or replace function signalbox.place_at(
  p_order_base bigint, p_head_start_ms bigint, p_priority integer, p_since timestamptz
) returns bigint
language sql stable
as $$
  select p_order_base - p_priority * coalesce(p_head_start_ms, 1) + case
    when p_head_start_ms is null then 0 else signalbox.ms_until(p_since, timestamptz '2026-01-01 00:00:00+00') end
$$;
