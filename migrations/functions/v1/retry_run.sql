-- Operator's verb: a run that waits for its time may be taken now, at its old place; a dead letter is redriven. Neither blocks
-- any more. Codes: retried (body: the run), not_retryable (it waits, is held, or ended otherwise), claim_not_found,
-- queue_not_found; rows without item tell what the line did.
create or replace function signalbox_v1.retry_run(
  p_queue text, p_claim_id text, p_actor text, p_reason text default null
) returns setof signalbox_v1.decision
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '2s'
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
declare
  v_line signalbox.lines;
  v_run signalbox.delayed;
  v_blockers integer;
  v_answer signalbox_v1.decision := (0, 'retried', p_queue, p_claim_id, null);
begin
  perform signalbox.require_read_committed();
  perform 1 from signalbox.lines n where n.queue = p_queue for no key update;
  if not found then
    return next (0, 'queue_not_found', p_queue, p_claim_id, null)::signalbox_v1.decision;
    return;
  end if;
  perform signalbox.move_inbox(p_queue, 1, p_claim_id);
  select * into v_line from signalbox.lines n where n.queue = p_queue;
  v_run := signalbox.find_queued(p_queue, p_claim_id);
  if v_run.kind = 'run' and v_run.due_at is not null then
    delete from signalbox.delayed d where d.claim_id = p_claim_id and d.queue = p_queue;
    insert into signalbox.waiting (queue, claim_id, kind, seq, priority, mode, holder, ttl_ms, lapsed_offers, labels,
        metadata, enqueued_at, attempts, place, rank)
      values (v_run.queue, v_run.claim_id, v_run.kind, v_run.seq, v_run.priority, v_run.mode, v_run.holder,
        v_run.ttl_ms, v_run.lapsed_offers, v_run.labels, v_run.metadata, v_run.enqueued_at, v_run.attempts, v_run.place,
        v_run.rank);
    update signalbox.lines n
      set delayed = n.delayed - 1, runs = n.runs + 1, blockers = n.blockers - v_run.blocks::integer
      where n.queue = p_queue returning n.blockers into v_blockers;
    perform signalbox.record_event('claim.redriven', p_queue, p_claim_id, jsonb_strip_nulls(jsonb_build_object(
      'state', 'delayed', 'attempts', v_run.attempts, 'actor', p_actor, 'reason', p_reason)));
    if v_run.blocks and v_blockers = 0 then
      perform signalbox.record_event('queue.unblocked', p_queue, null,
        jsonb_strip_nulls(jsonb_build_object('actor', p_actor, 'reason', p_reason)));
    end if;
    v_run.due_at := null;
    v_answer.body := signalbox.queued_run_body(v_run, (
      select r.max_attempts from signalbox.runs r where r.queue = p_queue and r.claim_id = p_claim_id));
  else
    select d.body into v_answer.body from signalbox.revive(p_queue, array[p_claim_id], p_actor, p_reason) d;
    if v_answer.body is null then
      v_answer.code := case when signalbox.knows(v_line, p_claim_id) then 'not_retryable' else 'claim_not_found' end;
      return next v_answer;
      return;
    end if;
  end if;
  return next v_answer;
  return query select * from signalbox.advance_line(p_queue);
end $$;
