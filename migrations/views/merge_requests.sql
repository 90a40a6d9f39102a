-- The builds of merge queues: the holder first, then those that wait in the order they would get the lease in. waiting_for of
-- those: held, draining, stabilisation, higher_priority, quarantine (a failover may have lost a
-- lease that its holder still believes in; for the time that the queue's settings and its builds name), delay (its next call
-- counts one down), or next_call (may have it, and gets it when it asks).
create or replace view signalbox_v1.merge_requests as
select
  r.queue, r.head_sha, r.head_ref, r.priority, r.status, r.request_id,
  case when r.status = 'pending' then r.position end as position,
  case when r.status = 'pending' then
    case when q.mode in ('held', 'draining') then q.mode
      when q.mode = 'open' and q.window_remaining_ms > 0 then 'stabilisation'
      when r.priority < q.highest_priority then 'higher_priority'
      when now.failover_at + signalbox.ms(greatest(coalesce(q.hold_ttl_ms, 10 * q.ttl_ms), r.longest_hold_ms)) > now.at
        then 'quarantine'
      when r.delays_counted < q.delay_count then 'delay' else 'next_call' end end as waiting_for,
  r.fencing_token, r.registered_at, r.last_seen_at, r.acquired_at, r.expires_at, r.ended_at,
  floor(extract(epoch from coalesce(r.acquired_at, now.at) - r.registered_at) * 1000)::bigint as waited_ms,
  greatest(0, q.delay_count - r.delays_counted) as delays_left
from (
  select r.*, row_number() over (
    partition by r.queue, r.status = 'pending' order by r.priority desc, r.registered_at, r.head_sha) as position,
    max(greatest(r.hold_ttl_ms,
      extract(epoch from r.expires_at - r.last_seen_at) * 1000)) over (partition by r.queue) as longest_hold_ms
  from signalbox.merge_requests r where r.status <> 'remembered') r
join signalbox_v1.merge_queues q on q.queue = r.queue
cross join (
  select signalbox.clock() as at, (select t.changed_at from signalbox.timeline t where t.accepted_at is null) as failover_at) now
order by r.queue, r.status = 'pending', r.position;
