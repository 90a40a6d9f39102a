-- Every pattern, and whether its last change is still on its way to some of its queues.
create or replace view signalbox_v1.queue_patterns as
select p.pattern, p.settings, p.version, p.reached_version < p.version as spreading, p.created_at, p.updated_at, p.updated_by
from signalbox.queue_patterns p
where p.settings is not null;
