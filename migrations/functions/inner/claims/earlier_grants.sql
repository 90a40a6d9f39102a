-- What became of the grants that a waiting claim or run has had, the newest first, at most five.
create or replace function signalbox.earlier_grants(p_queue text, p_claim_id text, p_enqueued_at timestamptz) returns jsonb
language sql stable
as $$
  select coalesce(jsonb_agg(jsonb_build_object('holder', g.holder, 'fencing_token', g.fencing_token,
      'decision', case when g.detail = 'offer_lapsed' then 'offer_lapsed' when g.outcome = 'retry' then 'retry'
        else g.reason end,
      'error', g.error, 'acquired_at', signalbox.rfc3339(g.acquired_at), 'ended_at', signalbox.rfc3339(g.ended_at))
    order by g.ended_at desc), '[]')
  from (
    select h.* from signalbox.history h
    where h.queue = p_queue and h.claim_id = p_claim_id and not h.final and h.enqueued_at = p_enqueued_at
    order by h.ended_at desc limit 5) g
$$;
