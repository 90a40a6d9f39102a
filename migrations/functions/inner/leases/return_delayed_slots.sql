-- Puts slots whose lock delay has passed back on the free list of a wide queue.
create or replace function signalbox.return_delayed_slots(p_queue text) returns void
language plpgsql
as $$
declare
  v_slot record;
begin
  for v_slot in
    select l.slot, l.weight from signalbox.leases l
    where l.queue = p_queue and l.state = 'free' and l.free_after <= signalbox.clock() order by l.slot
  loop
    update signalbox.leases l set free_after = null, next_free = n.free_head
      from signalbox.lines n where n.queue = p_queue and l.queue = p_queue and l.slot = v_slot.slot;
    update signalbox.lines n set free_head = v_slot.slot, held = n.held - v_slot.weight where n.queue = p_queue;
  end loop;
end $$;
