-- Every waiting claim: its position (1 = next), how many are ahead, and why it waits, as a word and as a sentence. Runs are in the
-- view `runs`. estimated_wait_ms: a guess from past holds, null where there is none.
-- One on several queues that has room here waits for another queue; behind the first 1,000 nobody is tried.
-- ordered_by, counts_from, rounds_ahead: what decides where it stands (see signalbox.standing).
create or replace view signalbox_v1.line as
select
  w.queue, w.position, w.position - 1 as ahead, w.claim_id, w.holder, w.priority, w.mode, r.waiting_for,
  w.enqueued_at, floor(extract(epoch from signalbox.clock() - w.enqueued_at) * 1000)::bigint as waited_ms,
  h.heard_at, coalesce(h.listens_until > signalbox.clock(), false) as listening, w.labels, w.metadata,
  e.estimated_wait_ms,
  coalesce(x.elsewhere ->> 'why',
    signalbox.why(n.line, r.waiting_for, w.position, n.held, n.blocked_by, e.estimated_wait_ms, w.weight,
      o.rounds_ahead)) as why,
  o.ordered_by, o.counts_from, o.rounds_ahead
-- Once a queue, not once a claim.
from (
  select n.queue, n as line, b.held, b.delayed, b.blocked_by, b.cleaning, o.typical_ms, o.free_in_ms,
    signalbox.quarantine_end(n.queue, (select t.changed_at from signalbox.timeline t where t.accepted_at is null))
      is not null as is_quarantined
  from signalbox.lines n
  cross join lateral signalbox.blocked_by(n) b
  cross join lateral signalbox.hold_outlook(n) o
  where n.waiting > 0) n
-- Not partitioned by queue: so whoever asks for the first positions reads no further, also on PostgreSQL 15.
cross join lateral (
  select w.*, row_number() over (order by w.place, w.seq, w.rank) as position
  from signalbox.waiting w where w.queue = n.queue and w.kind = 'claim') w
cross join lateral (
  select case when w.joint is not null and w.position <= 1000
    then signalbox.other_queue(w.queue, w.claim_id) end as elsewhere) x
cross join lateral (
  select coalesce(x.elsewhere ->> 'waiting_for',
    signalbox.waiting_for(n.line, w.position, n.held, n.delayed, 'claim', false, n.cleaning, n.is_quarantined))
    as waiting_for) r
cross join lateral (
  select case when w.weight = 1
    then signalbox.estimated_wait_ms(n.line, w.position, r.waiting_for, n.typical_ms, n.free_in_ms) end as estimated_wait_ms) e
join signalbox.queues q on q.queue = w.queue
cross join lateral signalbox.standing(q, (n.line).order_base, (n.line).claim_round, w.place) o
left join signalbox.heard h on h.queue = w.queue and h.claim_id = w.claim_id;
