-- A dead letter as an ended claim: it is known for as long as it is kept, also after the queue's claim_memory_ms.
create or replace function signalbox.dead_letter_body(p_queue text, p_claim_id text) returns jsonb
language sql stable
as $$
  select signalbox.ended_body(x.queue, x.claim_id, x.holder, case x.reason when 'failure' then 'released' else 'dead' end,
    x.reason, x.outcome, null, null, x.priority, 'wait', x.labels, x.metadata, x.enqueued_at, null, x.died_at, null, null,
    'run', x.attempts, x.error)
  from signalbox.dead_letters x where x.queue = p_queue and x.claim_id = p_claim_id
$$;
