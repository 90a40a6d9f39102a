-- Puts slots whose lock delay has passed back on the free list of a wide queue, all in one statement: there may be very many.
create or replace function signalbox.return_delayed_slots(p_queue text) returns void
language plpgsql
as $$
declare
  v_now timestamptz := signalbox.clock();
begin
  with back as materialized (
    select l.slot, l.weight, lag(l.slot) over (order by l.slot) as listed_before
    from signalbox.leases l where l.queue = p_queue and l.state = 'free' and l.free_after <= v_now),
  listed as (
    update signalbox.leases l set free_after = null, next_free = coalesce(b.listed_before, n.free_head)
      from back b, signalbox.lines n where l.queue = p_queue and l.slot = b.slot and n.queue = p_queue)
  update signalbox.lines n set free_head = b.top_slot, held = n.held - b.places
    from (select max(o.slot) as top_slot, sum(o.weight) as places from back o) b
    where n.queue = p_queue and b.top_slot is not null;
end $$;
