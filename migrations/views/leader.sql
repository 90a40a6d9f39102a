-- The leader: one row. leads = false: nobody leads now (resigned, or its lease ran out).
create or replace view signalbox_v1.leader as
select
  nullif(o.leader, '') as leader, o.epoch, o.leader <> '' and o.expires_at >= signalbox.clock() as leads,
  o.acquired_at, o.renewed_at, o.expires_at, signalbox.ms_until(o.expires_at, signalbox.clock()) as ttl_remaining_ms,
  (select max(c.finished_at) from signalbox.chores c) as last_sweep_at
from signalbox.orchestrator_lock o;
