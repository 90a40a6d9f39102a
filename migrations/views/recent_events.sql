-- The last 1,000 events of the last 24 hours, newest first.
create or replace view signalbox_v1.recent_events as
select e.at, e.type, e.queue, e.claim_id, e.data, e.xid::text || '.' || e.id as id
from signalbox.events e
where e.at > signalbox.clock() - interval '24 hours'
order by e.xid desc, e.id desc
limit 1000;
