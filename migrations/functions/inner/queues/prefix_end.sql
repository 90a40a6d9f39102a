-- The first name behind all that begin with the prefix. Names are ASCII below '{'.
create or replace function signalbox.prefix_end(p_prefix text) returns text
language sql immutable
as $$
  select case p_prefix when '' then '{' else left(p_prefix, -1) || chr(ascii(right(p_prefix, 1)) + 1) end
$$;
