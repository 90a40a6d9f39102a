-- The timeline of the WAL that is written now. pg_walfile_name names it whatever position it is asked about, reads only
-- memory, and everybody may call it; the last checkpoint (pg_control_checkpoint) would still tell the one before for a while
-- after a promotion.
create or replace function signalbox.current_timeline() returns text
language sql stable
as $$ select substr(pg_walfile_name('1/0'), 1, 8) $$;
