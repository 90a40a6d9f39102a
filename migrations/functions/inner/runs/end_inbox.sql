-- Ends runs that are still in the inbox of a queue as broken, at most p_max, under the line's lock; an id that is remembered
-- already is only dropped. Returns how many left the inbox.
create or replace function signalbox.end_inbox(p_queue text, p_max integer, p_actor text, p_detail text)
returns integer
language plpgsql
as $$
declare
  v_row signalbox.inbox;
  v_line signalbox.lines;
  v_rows integer := 0;
begin
  select * into v_line from signalbox.lines n where n.queue = p_queue;
  for v_row in
    delete from signalbox.inbox b where b.ctid = any(array(
      select i.ctid from signalbox.inbox i where i.queue = p_queue order by i.queue, i.id
      limit p_max for update skip locked))
    returning b.*
  loop
    v_rows := v_rows + 1;
    continue when signalbox.ended_claim_now(v_line, v_row.claim_id) is not null;
    insert into signalbox.history (queue, claim_id, holder, state, reason, final, priority, mode, labels, metadata,
        enqueued_at, ended_at, actor, detail, kind, attempt)
      values (p_queue, v_row.claim_id, '', 'broken', 'broken', true, v_row.priority, 'wait', v_row.labels, '{}',
        v_row.enqueued_at, signalbox.clock(), p_actor, p_detail, 'run', 0);
    perform signalbox.record_event('claim.broken', p_queue, v_row.claim_id, jsonb_strip_nulls(
      jsonb_build_object('reason', 'broken', 'actor', p_actor, 'detail', p_detail)));
  end loop;
  return v_rows;
end $$;
