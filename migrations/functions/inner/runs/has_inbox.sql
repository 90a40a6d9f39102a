-- Whether runs wait in the inbox for this queue. In the order of its index: planned on an emptied table without one, the
-- question would be answered by reading the index of ids whole.
create or replace function signalbox.has_inbox(p_queue text) returns boolean
language plpgsql stable
as $$
begin
  perform 1 from signalbox.inbox b where b.queue = p_queue order by b.queue, b.id limit 1;
  return found;
end $$;
