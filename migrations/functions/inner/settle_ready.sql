-- After a take: a queue that was served and has more to give goes to the back of the ready ones; one that has nothing to
-- give leaves them.
create or replace function signalbox.settle_ready(p_queue text, p_served boolean) returns boolean
language plpgsql
as $$
begin
  if not signalbox.refresh_ready(p_queue) then
    delete from signalbox.ready_queues r where r.queue = p_queue;
    return false;
  end if;
  if p_served then
    update signalbox.ready_queues r set ready_at = signalbox.clock() where r.queue = p_queue;
  end if;
  return true;
end $$;
