-- An enqueue where more waits in the inbox than was moved just now: it goes behind that, for the order of a queue is the
-- order of enqueues, whichever way they came. Under the line's lock, so nobody else enqueues the same id this way.
create or replace function signalbox.enqueue_behind(p_item jsonb) returns signalbox_v1.decision
language plpgsql
as $$
declare
  v_queue text := p_item ->> 'queue';
  v_claim_id text := p_item ->> 'claim_id';
  v_line signalbox.lines;
  v_run signalbox.delayed;
  v_max_runs integer;
  v_max_attempts integer := (p_item ->> 'max_attempts')::integer;
  v_delay_ms bigint := coalesce((p_item ->> 'delay_ms')::bigint, 0);
begin
  select * into v_line from signalbox.lines n where n.queue = v_queue;
  if not coalesce((p_item ->> 'fresh')::boolean, false) and signalbox.knows(v_line, v_claim_id) then
    return ((p_item ->> 'item')::integer, 'known', v_queue, v_claim_id, null)::signalbox_v1.decision;
  end if;
  if v_line.closed then
    return ((p_item ->> 'item')::integer, 'queue_closed', v_queue, v_claim_id, null)::signalbox_v1.decision;
  end if;
  select q.max_runs into v_max_runs from signalbox.queues q where q.queue = v_queue;
  if v_line.runs + v_line.delayed >= v_max_runs then
    return ((p_item ->> 'item')::integer, 'queue_full', v_queue, v_claim_id,
      jsonb_build_object('max_runs', v_max_runs))::signalbox_v1.decision;
  end if;
  v_run := (v_queue, v_claim_id, 'run', 0, coalesce((p_item ->> 'priority')::integer, 0), 'wait', '', 1000, 0,
    coalesce(p_item -> 'labels', '{}'), '{}', signalbox.clock(), 0,
    case when v_delay_ms > 0 then signalbox.clock() + signalbox.ms(v_delay_ms) end, false, 0, 0, 1, null, null)::signalbox.delayed;
  insert into signalbox.inbox (queue, claim_id, payload, priority, labels, delay_ms, max_attempts, max_age_ms, enqueued_at,
      batch, batch_rank)
    values (v_queue, v_claim_id, (p_item ->> 'payload')::json, v_run.priority, v_run.labels, v_delay_ms, v_max_attempts,
      (p_item ->> 'max_age_ms')::bigint, v_run.enqueued_at, p_item ->> 'batch', (p_item ->> 'batch_rank')::integer);
  return ((p_item ->> 'item')::integer, 'queued', v_queue, v_claim_id,
    signalbox.queued_run_body(v_run, coalesce(v_max_attempts, (
      select q.max_attempts from signalbox.queues q where q.queue = v_queue))))::signalbox_v1.decision;
end $$;
