-- Every queue: its limit and settings, how many hold and wait, and for how long the oldest has waited.
create or replace view signalbox_v1.queues as
select
  q.queue, n.concurrency_limit, n.paused, coalesce(s.held, 0) as held, coalesce(s.expired, 0) as expired_not_reaped,
  n.waiting, greatest(0, coalesce(s.held, 0) - n.concurrency_limit) as draining,
  floor(extract(epoch from signalbox.clock() - w.oldest) * 1000)::bigint as oldest_wait_ms,
  q.default_ttl_ms, q.max_ttl_ms, q.waiting_ttl_ms, q.max_waiting, q.max_hold_ms, q.lock_delay_ms, q.claim_memory_ms,
  q.version, q.auto_created, q.created_at, q.updated_at
from signalbox.queues q
join signalbox.lines n on n.queue = q.queue
left join lateral (
  select count(*) filter (where l.state = 'held') as held,
         count(*) filter (where l.state = 'held' and l.expires_at <= signalbox.clock()) as expired
  from signalbox.leases l where l.queue = q.queue) s on true
left join lateral (
  select min(w.enqueued_at) as oldest from signalbox.waiting w where w.queue = q.queue and n.waiting > 0) w on true;
