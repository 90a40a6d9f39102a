create or replace function signalbox.ms(p_ms double precision) returns interval
language sql immutable parallel safe
as $$ select make_interval(secs => p_ms / 1000.0) $$;
