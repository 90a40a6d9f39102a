-- Whole ms since 1970; null stays null.
create or replace function signalbox.ms_of(p_at timestamptz) returns bigint
language sql immutable parallel safe
as $$ select floor(extract(epoch from p_at) * 1000)::bigint $$;
