-- Every run that is not over, without what it carries (that is in the view `payloads`). state: inbox (enqueued from SQL, not
-- in line yet), waiting, delayed until due_at, held. position among those that wait, null behind the first 1,000.
-- blocks: those behind it wait for it. max_attempts null: the queue's.
-- ordered_by, counts_from, rounds_ahead: what decides where one that waits stands (see signalbox.standing).
create or replace view signalbox_v1.runs as
select
  w.queue, w.claim_id, 'waiting' as state, array_position(c.first, w.claim_id) as position,
  signalbox.waiting_for(n, coalesce(array_position(c.first, w.claim_id), 1001), s.held, s.delayed, 'run',
    coalesce((w.place, w.seq, w.rank) > (b.place, b.seq, b.rank), false), s.cleaning,
    signalbox.quarantine_end(w.queue, (select t.changed_at from signalbox.timeline t where t.accepted_at is null))
      is not null) as waiting_for,
  w.priority, w.attempts, r.max_attempts, null::timestamptz as due_at, false as blocks, null as holder,
  null::integer as slot, null::bigint as fencing_token, w.enqueued_at, r.dead_after, w.labels,
  o.ordered_by, o.counts_from, o.rounds_ahead
from signalbox.waiting w
join signalbox.lines n on n.queue = w.queue
join signalbox.queues q on q.queue = w.queue
cross join lateral signalbox.standing(q, n.order_base, n.run_round, w.place) o
-- Once a queue, not once a run (offset 0).
cross join lateral (
  select array(
    select f.claim_id from signalbox.waiting f where f.queue = n.queue and f.kind = 'run'
    order by f.place, f.seq, f.rank limit 1000) as first
  offset 0) c
cross join lateral (
  select coalesce(sum(l.weight) filter (where l.state = 'held' and l.kind <> 'cleaning'), 0) as held,
         coalesce(sum(l.weight) filter (where l.free_after > signalbox.clock() and l.free_after < 'infinity'), 0) as delayed,
         coalesce(sum(l.weight) filter (where l.free_after = 'infinity' or l.state = 'held' and l.kind = 'cleaning'), 0)
           as cleaning
  from signalbox.leases l where l.queue = n.queue) s
left join lateral (
  select f.place, f.seq, f.rank from (
    (select d.place, d.seq, d.rank from signalbox.delayed d
     where d.queue = n.queue and d.blocks and n.blockers > 0 order by d.place, d.seq, d.rank limit 1)
    union all
    (select x.place, x.seq, x.rank from signalbox.dead_letters x
     where x.queue = n.queue and x.blocks and n.blockers > 0 order by x.place, x.seq, x.rank limit 1)) f
  order by f.place, f.seq, f.rank limit 1) b on true
left join signalbox.runs r on r.queue = w.queue and r.claim_id = w.claim_id
where w.kind = 'run'
union all
select
  d.queue, d.claim_id, 'delayed', null, 'not_before', d.priority, d.attempts, r.max_attempts, d.due_at, d.blocks, null,
  null, null, d.enqueued_at, r.dead_after, d.labels,
  null, null, null
from signalbox.delayed d
left join signalbox.runs r on r.queue = d.queue and r.claim_id = d.claim_id
where d.kind = 'run'
union all
select
  l.queue, l.claim_id, 'held', null, null, l.priority, l.attempt, r.max_attempts, null, false, l.holder, l.slot,
  l.fencing_token, l.enqueued_at, r.dead_after, l.labels,
  null, null, null
from signalbox.leases l
left join signalbox.runs r on r.queue = l.queue and r.claim_id = l.claim_id
where l.kind = 'run' and l.state = 'held'
union all
select
  i.queue, i.claim_id, 'inbox', null, null, i.priority, 0, i.max_attempts,
  case when i.delay_ms > 0 then i.enqueued_at + make_interval(secs => i.delay_ms / 1000.0) end, false, null, null, null,
  i.enqueued_at, i.enqueued_at + make_interval(secs => i.max_age_ms / 1000.0), i.labels,
  null, null, null
from signalbox.inbox i;
