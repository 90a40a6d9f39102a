-- The one clock of every row. Tests replace this function; nothing else reads the time.
create or replace function signalbox.clock() returns timestamptz
language sql volatile parallel safe
as $$ select clock_timestamp() $$;
