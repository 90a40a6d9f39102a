-- The builds of merge queues: the holder first, then those that wait in the order they would get the lease in. waiting_for of
-- those: held, draining, stabilisation, higher_priority, delay (its next call counts one down), or next_call (may have it, and gets it when it asks).
create or replace view signalbox_v1.merge_requests as
select
  r.queue, r.head_sha, r.head_ref, r.priority, r.status, r.request_id,
  case when r.status = 'pending' then r.position end as position,
  case when r.status = 'pending' then
    case when q.mode in ('held', 'draining') then q.mode
      when q.mode = 'open' and q.window_remaining_ms > 0 then 'stabilisation'
      when r.priority < q.highest_priority then 'higher_priority'
      when r.delays_counted < q.delay_count then 'delay' else 'next_call' end end as waiting_for,
  r.fencing_token, r.registered_at, r.last_seen_at, r.acquired_at, r.expires_at, r.ended_at,
  floor(extract(epoch from coalesce(r.acquired_at, now.at) - r.registered_at) * 1000)::bigint as waited_ms,
  greatest(0, q.delay_count - r.delays_counted) as delays_left
from (
  select r.*, row_number() over (
    partition by r.queue, r.status = 'pending' order by r.priority desc, r.registered_at, r.head_sha) as position
  from signalbox.merge_requests r where r.status <> 'remembered') r
join signalbox_v1.merge_queues q on q.queue = r.queue
cross join (select signalbox.clock() as at) now
order by r.queue, r.status = 'pending', r.position;
