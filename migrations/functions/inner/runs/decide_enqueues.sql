-- All enqueues of a batch whose lines this transaction has locked in an earlier statement. What came through the inbox goes
-- into the line before them, some hundred rows at a time; where more is left there, these go behind it, into the inbox too.
-- Items whose line is not locked get no row here. Code known has a body if the run waits in line or is delayed.
create or replace function signalbox.decide_enqueues(p_items jsonb, p_locked text[])
returns setof signalbox_v1.decision
language plpgsql
as $$
declare
  v_items jsonb;
  v_queues text[];
  v_queue text;
  v_behind text[] := '{}';
  v_moved integer;
  v_decision signalbox_v1.decision;
  v_known signalbox.delayed;
begin
  select jsonb_agg(o.value || jsonb_build_object('item', o.n - 1) order by o.n),
      array_agg(distinct (o.value ->> 'queue') collate "C")
    into v_items, v_queues from jsonb_array_elements(p_items) with ordinality o(value, n)
    where o.value ->> 'op' = 'enqueue' and o.value ->> 'queue' = any(p_locked);
  if v_items is null then
    return;
  end if;
  foreach v_queue in array v_queues loop
    v_moved := signalbox.move_inbox(v_queue);
    -- In a statement of its own, which sees what has left.
    if v_moved > 0 and signalbox.has_inbox(v_queue) then
      v_behind := v_behind || v_queue;
    end if;
  end loop;
  if v_behind <> '{}' then
    return query
      select d.* from jsonb_array_elements(v_items) with ordinality i(value, n)
      cross join lateral signalbox.enqueue_behind(i.value) d
      where i.value ->> 'queue' = any(v_behind);
    v_items := (select coalesce(jsonb_agg(i.value order by i.n), '[]')
      from jsonb_array_elements(v_items) with ordinality i(value, n) where i.value ->> 'queue' <> all(v_behind));
  end if;
  for v_decision in select * from signalbox.place_runs(v_items) loop
    if v_decision.code = 'known' then
      v_known := signalbox.find_queued(v_decision.queue, v_decision.claim_id);
      if v_known.kind = 'run' then
        v_decision.body := signalbox.queued_run_body(v_known, (
          select r.max_attempts from signalbox.runs r
          where r.queue = v_decision.queue and r.claim_id = v_decision.claim_id));
      end if;
    end if;
    return next v_decision;
  end loop;
  foreach v_queue in array v_queues loop
    if signalbox.refresh_ready(v_queue) then
      return next (null, 'ready', v_queue, null, null)::signalbox_v1.decision;
    end if;
  end loop;
end $$;
