-- Every queue: its limit and settings, how many hold and wait (claims and runs; runs: those of them that are runs), for how
-- long the oldest has waited, how many are delayed or kept as dead letters, and whether one of these blocks the line. dirty:
-- slots that wait for a cleaner; cleaning: those that one is at work on.
create or replace view signalbox_v1.queues as
select
  q.queue, n.concurrency_limit, n.paused, coalesce(s.held, 0) as held, coalesce(s.expired, 0) as expired_not_reaped,
  n.waiting + n.runs as waiting, greatest(0, coalesce(s.used, 0) - n.concurrency_limit) as draining,
  floor(extract(epoch from signalbox.clock() - w.oldest) * 1000)::bigint as oldest_wait_ms,
  q.default_ttl_ms, q.max_ttl_ms, q.waiting_ttl_ms, q.max_waiting, q.max_hold_ms, q.lock_delay_ms, q.claim_memory_ms,
  q.version, q.auto_created, q.created_at, q.updated_at,
  q.max_runs, q.max_attempts, q.max_age_ms, q.retry_delay_ms, q.retry_delay_max_ms, q.on_failure,
  n.runs, n.delayed, n.blockers > 0 as blocked, n.dead as dead_letters,
  q.priority_head_start_ms, q.rotate_by, q.retry_place, q.supersede_by, q.cancel_in_progress, q.on_full, q.max_wait_ms,
  q.reserve_max_ms, q.on_failover, n.closed, n.cleanup, coalesce(s.places, 0) as places_taken,
  n.dirty, coalesce(s.cleaning, 0) as cleaning,
  signalbox.quarantine_end(q.queue, (select t.changed_at from signalbox.timeline t where t.accepted_at is null))
    as quarantined_until
from signalbox.queues q
join signalbox.lines n on n.queue = q.queue
left join lateral (
  select count(*) filter (where l.state = 'held' and l.kind <> 'cleaning') as held,
         count(*) filter (where l.state = 'held' and l.kind = 'cleaning') as cleaning,
         sum(l.weight) filter (where l.state = 'held' and l.kind <> 'cleaning') as used,
         sum(l.weight) filter (where l.state = 'held' or l.free_after > signalbox.clock()) as places,
         count(*) filter (where l.state = 'held' and l.expires_at <= signalbox.clock()) as expired
  from signalbox.leases l where l.queue = q.queue) s on true
-- The oldest of a place is its first: one probe for each place (of the first 100), however long the line is. By priority
-- that is the oldest of all; with a head start or in rotation, of the hundred who are next.
left join lateral (
  select min(h.enqueued_at) as oldest
  from (values ('claim'), ('run')) k(kind) cross join lateral (
    with recursive heads as (
      (select w.place, w.enqueued_at, 1 as nth from signalbox.waiting w
       where w.queue = q.queue and w.kind = k.kind and w.kind <> '' and n.waiting + n.runs > 0 order by w.place, w.seq, w.rank limit 1)
      union all
      select w.place, w.enqueued_at, h.nth + 1 from heads h cross join lateral (
        select w.place, w.enqueued_at from signalbox.waiting w
        where w.queue = q.queue and w.kind = k.kind and w.kind <> '' and w.place > h.place
        order by w.place, w.seq, w.rank limit 1) w
      where h.nth < 100)
    select h.enqueued_at from heads h) h) w on true;
