-- Microseconds since 2026-01-01: exact in JSON (below 2^53 until the year 2311), never lowered by deleting a queue, by
-- a restore, or by a failover that lost its tail.
create or replace function signalbox.token_floor() returns bigint
language sql volatile
as $$ select (extract(epoch from signalbox.clock() - timestamptz '2026-01-01 00:00:00+00') * 1000000)::bigint $$;
