create or replace function signalbox.record_event(p_type text, p_queue text, p_claim_id text, p_data jsonb) returns void
language sql
as $$
  insert into signalbox.events (at, type, queue, claim_id, data)
  values (signalbox.clock(), p_type, p_queue, p_claim_id, p_data)
$$;
