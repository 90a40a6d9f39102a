-- Every setting of every queue: what it is and where it comes from. source: local = the queue's own; pattern; default.
create or replace view signalbox_v1.queue_settings as
select
  q.queue, s.key as setting, s.value,
  case when s.key = any(signalbox.own_settings(n, q)) then 'local' when p.settings ? s.key then 'pattern' else 'default' end
    as source,
  case when s.key <> all(signalbox.own_settings(n, q)) and p.settings ? s.key then p.pattern end as pattern
from signalbox.queues q
join signalbox.lines n on n.queue = q.queue
left join lateral (
  select p.pattern, p.settings from signalbox.queue_patterns p
  where p.settings is not null and starts_with(q.queue, left(p.pattern, -1))
  order by length(p.pattern) desc limit 1) p on true
cross join lateral jsonb_each(signalbox.settings_of(n, q)) s;
