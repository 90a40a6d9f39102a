-- Locks those of these lines that nobody else has; never waits, so a line may be held meanwhile. What it locks is read by
-- later statements.
create or replace function signalbox.lock_lines(p_queues text[]) returns text[]
language plpgsql
as $$
begin
  return array(
    select n.queue from signalbox.lines n where n.queue = any(p_queues)
    order by n.queue for no key update of n skip locked);
end $$;
