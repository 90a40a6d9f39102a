-- The time that is so many ms after 1970; null stays null.
create or replace function signalbox.at_ms(p_ms bigint) returns timestamptz
language sql immutable parallel safe
as $$ select to_timestamp(p_ms / 1000.0) $$;
