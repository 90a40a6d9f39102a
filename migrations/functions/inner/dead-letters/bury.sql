-- Keeps a run that is over for an operator: a dead letter. On a queue that stops at failures it blocks those behind it.
-- p_actor, p_detail: whoever ended it. Under the line's lock; the caller writes history.
create or replace function signalbox.bury(
  p_run signalbox.delayed, p_reason text, p_outcome text, p_error text, p_holder text, p_blocks boolean,
  p_actor text default null, p_detail text default null
) returns void
language plpgsql
as $$
declare
  v_now timestamptz := signalbox.clock();
  v_blockers integer;
begin
  with carried as (
    delete from signalbox.runs r where r.queue = p_run.queue and r.claim_id = p_run.claim_id returning r.*)
  insert into signalbox.dead_letters (queue, claim_id, reason, outcome, error, holder, attempts, max_attempts,
      attempts_before, max_age_ms, priority, seq, labels, metadata, payload, enqueued_at, died_at, blocks,
      place, rank)
    select c.queue, c.claim_id, p_reason, p_outcome, p_error, p_holder, p_run.attempts, c.max_attempts, c.attempts_before,
      c.max_age_ms, p_run.priority, p_run.seq, p_run.labels, p_run.metadata, c.payload, p_run.enqueued_at, v_now, p_blocks,
      p_run.place, p_run.rank
    from carried c;
  update signalbox.lines n set dead = n.dead + 1, blockers = n.blockers + p_blocks::integer
    where n.queue = p_run.queue returning n.blockers into v_blockers;
  perform signalbox.record_event('claim.dead', p_run.queue, p_run.claim_id, signalbox.labelled(jsonb_strip_nulls(jsonb_build_object(
    'reason', p_reason, 'outcome', p_outcome, 'error', p_error, 'holder', nullif(p_holder, ''),
    'attempts', p_run.attempts, 'actor', p_actor, 'detail', p_detail)),
    p_run.labels));
  if p_blocks and v_blockers = 1 then
    perform signalbox.record_event('queue.blocked', p_run.queue, p_run.claim_id,
      jsonb_build_object('reason', p_reason));
  end if;
end $$;
