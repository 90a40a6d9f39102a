-- The last failover of the database that was seen: one row. changed_at null: none. quarantine_ms: for how long the queue with
-- the longest max_ttl_ms still grants nothing new, 0 = none does. (Queues say of themselves: quarantined_until in `queues`.)
create or replace view signalbox_v1.failover as
select
  t.timeline, t.previous, t.changed_at, t.changes, t.accepted_at, t.accepted_by,
  case when t.accepted_at is null and t.changed_at > signalbox.clock() - interval '1 day' then greatest(0, coalesce((
    select signalbox.ms_until(t.changed_at + signalbox.ms(max(greatest(q.max_ttl_ms,
      case when q.ttl_lowered_at >= t.changed_at then q.longest_ttl_ms end))), signalbox.clock())
    from signalbox.queues q where q.on_failover = 'quarantine'), 0)) else 0 end as quarantine_ms
from signalbox.timeline t;
