-- What somebody is told who does not wait for the end of a quarantine.
create or replace function signalbox.quarantined_decision(p_item integer, p_queue text, p_claim_id text, p_until timestamptz)
returns signalbox_v1.decision
language sql volatile
as $$
  select (p_item, 'quarantined', p_queue, p_claim_id, jsonb_build_object('quarantined_until', signalbox.rfc3339(p_until),
    'retry_after_ms', greatest(1, signalbox.ms_until(p_until, signalbox.clock()))))::signalbox_v1.decision
$$;
