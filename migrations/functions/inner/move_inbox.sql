-- Moves runs enqueued in users' own transactions into their line, at most p_max and as many as have room there; the rest
-- stays in the inbox. The line must be locked by an earlier statement. An id that is there already, or remembered, is
-- dropped. Returns how many rows left the inbox. What is ready is refreshed here, because a caller may find nothing else to
-- do; one that does more refreshes it again.
create or replace function signalbox.move_inbox(p_queue text, p_max integer) returns integer
language plpgsql
as $$
declare
  v_room integer;
  v_items jsonb;
begin
  select least(p_max, q.max_runs - n.runs - n.delayed) into v_room
    from signalbox.lines n join signalbox.queues q on q.queue = n.queue where n.queue = p_queue;
  if coalesce(v_room, p_max) <= 0 then
    return 0;
  end if;
  with moved as (
    delete from signalbox.inbox b where b.ctid = any(array(
      select i.ctid from signalbox.inbox i where i.queue = p_queue order by i.queue, i.id
      limit coalesce(v_room, p_max) for update skip locked))
    returning b.*)
  select jsonb_agg(jsonb_build_object('item', m.id, 'queue', m.queue, 'claim_id', m.claim_id,
      'payload', m.payload::text, 'priority', m.priority, 'labels', m.labels, 'delay_ms', m.delay_ms,
      'max_attempts', m.max_attempts, 'max_age_ms', m.max_age_ms, 'enqueued_at', m.enqueued_at) order by m.id)
    into v_items from moved m;
  if v_items is null then
    return 0;
  end if;
  -- item is the inbox's id here: it orders the rows, and the answers are not needed.
  perform 1 from signalbox.place_runs((
    select jsonb_agg(jsonb_set(i.value, '{item}', to_jsonb(i.n))) from jsonb_array_elements(v_items)
      with ordinality i(value, n)));
  perform signalbox.refresh_ready(p_queue);
  return jsonb_array_length(v_items);
end $$;
