-- Every held lease: who, which token, how long still; kind run: a worker took it, cleaning: a cleaner, whose slot was that of previous; attempt: which grant of its claim it is. expired_not_reaped: its time ran out and nobody has ended it yet;
-- it gives its place to the next claim at once.
create or replace view signalbox_v1.leases as
select
  l.queue, l.slot, l.claim_id, l.holder, l.fencing_token,
  signalbox.ms_until(l.expires_at, signalbox.clock()) as ttl_remaining_ms,
  l.expires_at <= signalbox.clock() as expired_not_reaped, l.offered, l.release_requested, l.ttl_ms, l.priority,
  l.enqueued_at, l.acquired_at, l.renewed_at, l.expires_at, l.hold_until,
  floor(extract(epoch from signalbox.clock() - l.acquired_at) * 1000)::bigint as held_ms, l.labels, l.metadata,
  l.kind, l.attempt, l.previous
from signalbox.leases l
where l.state = 'held';
