-- A claim or run that is not in line before its time, in the words of the contract.
create or replace function signalbox.delayed_body(p_line signalbox.lines, p_claim signalbox.delayed) returns jsonb
language sql volatile
as $$
  select signalbox.waiting_body(p_claim) || jsonb_build_object(
    'position', 0, 'position_exact', true, 'ahead', 0,
    'queue_depth', case p_claim.kind when 'run' then p_line.runs else p_line.waiting end,
    'waiting_for', 'not_before', 'blocked_by', '[]'::jsonb,
    'why', format('not before %s', signalbox.rfc3339(p_claim.due_at)), 'estimated_wait_ms', null,
    'earlier_grants', case when p_claim.attempts > 0
      then signalbox.earlier_grants(p_claim.queue, p_claim.claim_id, p_claim.enqueued_at) else '[]' end,
    'poll_after_ms', greatest(100, least(3000, signalbox.ms_until(p_claim.due_at, signalbox.clock()))))
$$;
