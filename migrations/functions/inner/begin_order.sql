-- A queue whose order is set anew: places given from now on lie behind all that were given before (see place_of), so those
-- who stand in line keep their order and go first; a rotation begins. Under the line's lock.
create or replace function signalbox.begin_order(p_queue text, p_rotate_by text) returns void
language sql
as $$
  delete from signalbox.turns t where t.queue = p_queue;
  update signalbox.lines n
    set rotates = p_rotate_by is not null, order_base = n.order_base + 562949953421312, claim_round = 0, run_round = 0
    where n.queue = p_queue
$$;
