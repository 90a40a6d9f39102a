-- Locks lines in name order and waits for those that somebody else has, at most 100 ms each (55P03): whoever waits here for one
-- keeps others waiting for those before it.
create or replace function signalbox.await_lines(p_queues text[]) returns void
language plpgsql
set lock_timeout = '100ms'
as $$
begin
  perform 1 from signalbox.lines n where n.queue = any(p_queues) order by n.queue for no key update of n;
end $$;
