-- After a take: a queue that was served and has more to give goes to the back of the ready ones; one that has nothing to
-- give leaves them. A row that another take has locked (it finds this line locked, and passes it over) stays as it is: two
-- takes that waited for each other's rows here would deadlock.
create or replace function signalbox.settle_ready(p_queue text, p_served boolean) returns boolean
language plpgsql
as $$
begin
  if not signalbox.refresh_ready(p_queue) then
    delete from signalbox.ready_queues r where r.ctid = (
      select o.ctid from signalbox.ready_queues o where o.queue = p_queue for update skip locked);
    return false;
  end if;
  if p_served then
    update signalbox.ready_queues r set ready_at = signalbox.clock() where r.ctid = (
      select o.ctid from signalbox.ready_queues o where o.queue = p_queue for update skip locked);
  end if;
  return true;
end $$;
