-- ended_claim with the memory of its queue, on a snapshot of its own, so that it sees this transaction's own endings.
create or replace function signalbox.ended_claim_now(p_line signalbox.lines, p_claim_id text) returns jsonb
language sql volatile
as $$
  select signalbox.ended_claim(q.queue, p_claim_id, q.claim_memory_ms)
  from signalbox.queues q where q.queue = p_line.queue
$$;
