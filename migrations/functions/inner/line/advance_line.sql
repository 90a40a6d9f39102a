-- Moves what is due into the line, gives free places to its head, at most p_max of them, and says what happened to whom.
-- The line must be locked by an earlier statement of this transaction. It reads everything again on its own snapshots, so
-- it may be called at any time: where nothing can move it changes nothing. Leases that ran out are ended first: an expired
-- lease frees its slot for the line, never for a newcomer. Code returned = the lease of this run ran out, and it waits
-- again; ready = a run may be taken now; stir = these lines are to be advanced at once, together (see signalbox.stir).
create or replace function signalbox.advance_line(p_queue text, p_max integer default 100)
returns setof signalbox_v1.decision
language plpgsql
as $$
declare
  v_line signalbox.lines;
  v_slots record;
begin
  select * into v_line from signalbox.lines n where n.queue = p_queue;
  if v_line.next_due_at <= signalbox.clock() then
    perform signalbox.move_due(p_queue, p_max);
    select * into v_line from signalbox.lines n where n.queue = p_queue;
  end if;
  v_slots := signalbox.count_slots(v_line);
  -- A wide queue looks for expired leases only when it is full.
  if v_slots.expired > 0 or v_line.wide or exists (select from signalbox.loose_ends e where e.queue = p_queue) then
    return query select * from signalbox.settle_line(p_queue, p_max);
    v_slots := signalbox.count_slots(v_line);
    select * into v_line from signalbox.lines n where n.queue = p_queue;
  end if;
  if v_line.paused or v_line.concurrency_limit = 0 or v_line.waiting + v_line.runs = 0
    or signalbox.quarantine_end(p_queue, signalbox.failover_at()) is not null then
    return;
  end if;
  if v_line.waiting > 0 and (v_line.concurrency_limit is null or v_slots.taken < v_line.concurrency_limit) then
    if v_line.several > 0 then
      return query select * from signalbox.serve_several(v_line, p_max);
    else
      return query select * from signalbox.serve_line(v_line, v_slots, p_max);
    end if;
  end if;
  if v_line.runs > 0 and signalbox.refresh_ready(p_queue) then
    return next (null, 'ready', p_queue, null, null)::signalbox_v1.decision;
  end if;
end $$;
