-- How a claim ended, as long as the queue remembers it (claim_memory_ms); null = it is not known to have ended.
create or replace function signalbox.ended_claim(p_queue text, p_claim_id text, p_memory_ms integer) returns jsonb
language plpgsql stable
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
declare
  v_since timestamptz := signalbox.clock() - signalbox.ms(p_memory_ms);
  -- The days made ahead are left out of the plan like those that are too old: nothing has ended tomorrow.
  v_until timestamptz := signalbox.clock() + interval '1 day';
begin
  return (
    select signalbox.ended_body(h.queue, h.claim_id, h.holder, h.state, h.reason, h.outcome, h.slot, h.fencing_token,
      h.priority, h.mode, h.labels, h.metadata, h.enqueued_at, h.acquired_at, h.ended_at, h.actor, h.detail, h.kind,
      h.attempt, h.error, h.joint)
    from signalbox.history h
    where h.queue = p_queue and h.claim_id = p_claim_id and h.final and h.ended_at > v_since and h.ended_at < v_until
    order by h.ended_at desc limit 1);
end $$;
