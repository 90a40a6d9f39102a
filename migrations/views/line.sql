-- Every waiting claim: its position (1 = next), how many are ahead, and why it waits. Runs are in the view `runs`.
create or replace view signalbox_v1.line as
select
  w.queue, w.position, w.position - 1 as ahead, w.claim_id, w.holder, w.priority, w.mode,
  signalbox.waiting_for(n, w.position, b.held, b.delayed, 'claim', false) as waiting_for,
  w.enqueued_at, floor(extract(epoch from signalbox.clock() - w.enqueued_at) * 1000)::bigint as waited_ms,
  h.heard_at, coalesce(h.listens_until > signalbox.clock(), false) as listening, w.labels, w.metadata
from (
  select w.*, row_number() over (partition by w.queue order by w.place, w.seq, w.rank) as position
  from signalbox.waiting w where w.kind = 'claim') w
join signalbox.lines n on n.queue = w.queue
cross join lateral (
  select count(*) filter (where l.state = 'held') as held,
         count(*) filter (where l.free_after > signalbox.clock()) as delayed
  from signalbox.leases l where l.queue = w.queue) b
left join signalbox.heard h on h.queue = w.queue and h.claim_id = w.claim_id;
