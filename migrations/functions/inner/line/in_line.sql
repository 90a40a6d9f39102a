-- A waiting row as one of `delayed`, so that both are handled alike: due_at is null for what is in line.
create or replace function signalbox.in_line(p_claim signalbox.waiting) returns signalbox.delayed
language sql immutable
as $$
  select row(p_claim.queue, p_claim.claim_id, p_claim.kind, p_claim.seq, p_claim.priority, p_claim.mode, p_claim.holder,
    p_claim.ttl_ms, p_claim.lapsed_offers, p_claim.labels, p_claim.metadata, p_claim.enqueued_at, p_claim.attempts,
    null::timestamptz, false, p_claim.place, p_claim.rank, p_claim.weight, p_claim.joint,
    p_claim.wait_until)::signalbox.delayed
$$;
