-- Every queue whose line stands still behind a run: one row for each of the first ten that stop it, in their order (place).
-- state delayed: it is tried again at due_at; dead: somebody must retry, skip or purge it, or unblock the queue.
-- since: when the first of these stopped it; on_failure: as it works, also where it is not set.
create or replace view signalbox_v1.blocked_queues as
select
  n.queue, signalbox.failure_policy(n.concurrency_limit, q.on_failure) as on_failure,
  min(coalesce(b.died_at, h.ended_at, b.enqueued_at)) over (partition by n.queue) as since,
  n.waiting + n.runs as waiting, n.delayed, n.blockers, b.nth as place, b.claim_id, b.state, b.reason, b.attempts,
  coalesce(b.error, h.error) as error, b.due_at
from signalbox.lines n
join signalbox.queues q on q.queue = n.queue
cross join lateral (
  select f.*, row_number() over (order by f.place, f.seq, f.rank) as nth from (
    (select d.claim_id, 'delayed' as state, 'retry' as reason, d.attempts, null as error, d.due_at,
       null::timestamptz as died_at, d.enqueued_at, d.priority, d.place, d.seq, d.rank
     from signalbox.delayed d where d.queue = n.queue and d.blocks order by d.place, d.seq, d.rank limit 10)
    union all
    (select x.claim_id, 'dead', x.reason, x.attempts, x.error, null, x.died_at, x.enqueued_at, x.priority, x.place, x.seq, x.rank
     from signalbox.dead_letters x where x.queue = n.queue and x.blocks order by x.place, x.seq, x.rank limit 10)) f
  order by f.place, f.seq, f.rank limit 10) b
-- When it went back, and with which error, is in history.
left join lateral (
  select h.ended_at, h.error from signalbox.history h
  where b.state = 'delayed' and h.queue = n.queue and h.claim_id = b.claim_id
  order by h.ended_at desc limit 1) h on true
where n.blockers > 0;
