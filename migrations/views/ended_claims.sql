-- How claims and grants ended, as long as history is kept. final = false: the grant ended, its claim went on. error: what
-- the holder of a run reported.
create or replace view signalbox_v1.ended_claims as
select
  h.queue, h.claim_id, h.holder, h.state, h.reason, h.outcome, h.final, h.slot, h.fencing_token, h.priority,
  h.enqueued_at, h.acquired_at, h.ended_at, h.actor, h.detail,
  floor(extract(epoch from coalesce(h.acquired_at, h.ended_at) - h.enqueued_at) * 1000)::bigint as waited_ms,
  floor(extract(epoch from h.ended_at - h.acquired_at) * 1000)::bigint as held_ms, h.labels, h.metadata,
  h.kind, h.attempt, h.error
from signalbox.history h;
