-- Whether runs of this queue may be taken, as far as claims are concerned: these come first, but where all of them wait for
-- other queues and keep nothing here (see has_room). Under the line's lock.
create or replace function signalbox.runs_may_pass(p_line signalbox.lines) returns boolean
language plpgsql
as $$
begin
  return p_line.waiting = 0 or p_line.several > 0 and signalbox.has_room(p_line, 1);
end $$;
