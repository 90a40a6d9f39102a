-- How far the rotation of a line has come once the claim at p_place is granted (places relative to order_base). It follows
-- the places served. It also moves on by a thousandth of a round with each grant, never past the next round: so newcomers,
-- who begin where it is, pass whoever waits for a next turn at most 1,000 times, however many come.
create or replace function signalbox.round_after(p_round bigint, p_place bigint) returns bigint
language sql immutable
as $$ select greatest(p_round, p_place, least(p_round + 1, p_place + 999)) $$;
