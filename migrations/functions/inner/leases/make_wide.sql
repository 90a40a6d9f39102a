-- Makes a queue wide: counts its slots once and links the free ones. It stays wide.
create or replace function signalbox.make_wide(p_queue text) returns void
language plpgsql
as $$
declare
  v_slot integer;
  v_previous integer;
begin
  for v_slot in
    select l.slot from signalbox.leases l
    where l.queue = p_queue and l.state = 'free' and l.free_after is null order by l.slot desc
  loop
    update signalbox.leases l set next_free = v_previous where l.queue = p_queue and l.slot = v_slot;
    v_previous := v_slot;
  end loop;
  insert into signalbox.wide_slots (queue, claim_id, slot)
    select l.queue, l.claim_id, l.slot from signalbox.leases l where l.queue = p_queue and l.state = 'held';
  update signalbox.lines n
    set wide = true, free_head = v_previous, held = s.held, top_slot = s.top_slot, newest_token = s.newest_token
    from (select coalesce(sum(l.weight) filter (where l.state = 'held' or l.free_after is not null), 0) as held,
                 coalesce(max(l.slot), 0) as top_slot, coalesce(max(l.fencing_token), 0) as newest_token
          from signalbox.leases l where l.queue = p_queue) s
    where n.queue = p_queue;
end $$;
