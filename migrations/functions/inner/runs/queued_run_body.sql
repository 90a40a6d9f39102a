-- A run that nobody has taken, in the words of the contract.
create or replace function signalbox.queued_run_body(p_run signalbox.delayed, p_max_attempts integer) returns jsonb
language sql stable
as $$
  select jsonb_build_object(
    'claim_id', p_run.claim_id, 'queue', p_run.queue, 'kind', 'run',
    'state', case when p_run.due_at is null then 'waiting' else 'delayed' end, 'priority', p_run.priority,
    'labels', p_run.labels, 'attempts', p_run.attempts, 'max_attempts', p_max_attempts,
    'enqueued_at', signalbox.rfc3339(p_run.enqueued_at), 'due_at', signalbox.rfc3339(p_run.due_at))
$$;
