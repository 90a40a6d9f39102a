-- A queue whose order is set anew: places given from now on lie behind all that were given before (see place_of), so those
-- who stand in line keep their order and go first; a rotation begins. Places of one setting lie within 2^48 of the furthest
-- turn. Where nobody has a place any more they begin at 0 again, and so do batches: so the base stays far from the end of
-- bigint (in a queue that is never empty, after 16,000 changes). Under the line's lock.
create or replace function signalbox.begin_order(p_queue text, p_rotate_by text) returns void
language plpgsql
as $$
declare
  v_furthest bigint;
  v_is_empty boolean;
begin
  with gone as (delete from signalbox.turns t where t.queue = p_queue returning t.next_turn)
  select coalesce(max(g.next_turn), 0) into v_furthest from gone g;
  select n.waiting + n.runs + n.delayed + n.dead = 0
      and not exists (select from signalbox.leases l where l.queue = p_queue and l.state = 'held')
    into v_is_empty from signalbox.lines n where n.queue = p_queue;
  if v_is_empty then
    delete from signalbox.batches b where b.queue = p_queue;
  end if;
  update signalbox.lines n
    set rotates = p_rotate_by is not null, claim_round = 0, run_round = 0,
        order_base = case when v_is_empty then 0
          else n.order_base + 562949953421312 + greatest(n.claim_round, n.run_round, v_furthest) end
    where n.queue = p_queue;
end $$;
