-- What decides where a claim or run in line stands, for people: ordered_by priority, head_start, rotation, or earlier_order
-- (it came before the order was set anew, and goes before all who came after that). counts_from: the time that it counts
-- from, by its head start. rounds_ahead: so many rounds until its turn, 0 = in this one. (A
-- table, so that it is put into the query of a view: called for each of 100,000 in line, it took seconds.)
create or replace function signalbox.standing(
  p_settings signalbox.queues, p_order_base bigint, p_round bigint, p_place bigint
) returns table (ordered_by text, counts_from timestamptz, rounds_ahead bigint)
language sql stable rows 1
as $$
  select o.ordered_by,
    case when o.ordered_by = 'head_start'
      then timestamptz '2026-01-01 00:00:00+00' + (p_place - p_order_base) * interval '1 millisecond' end,
    case when o.ordered_by = 'rotation' then greatest(0, ceil((p_place - p_order_base - p_round) / 1000.0)::bigint) end
  from (select case
      when p_place < p_order_base - 281474976710656 then 'earlier_order'
      when p_settings.rotate_by is not null then 'rotation'
      when p_settings.priority_head_start_ms is not null then 'head_start'
      else 'priority' end as ordered_by) o
$$;
