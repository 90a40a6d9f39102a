-- How far the rotation of a line has come once a claim is granted (its place relative to order_base). It follows the places
-- served. It also moves on by a thousandth of a round with each grant, never past the next round after the turn served: so
-- newcomers, who begin where it is, pass whoever waits for a next turn at most 1,000 times, however many come, and as often
-- again for each unit of priority that they have more. Yet of everybody else at most one turn lies before it.
create or replace function signalbox.round_after(p_round bigint, p_place bigint, p_priority integer) returns bigint
language sql immutable
as $$
  select greatest(p_round, p_place, least(p_round + 1, p_place + greatest(p_priority, 0) * 1000::bigint + 999))
$$;
