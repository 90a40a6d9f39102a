-- Where the feed is sent to and how far it is behind, without secrets, nor what the URL says behind its host. lag_ms: since
-- when the oldest event it is not done with has happened, whether it is for it or not, and also one that a long transaction keeps
-- back; 0 = there is none.
create or replace view signalbox_v1.webhooks as
select
  w.name, substring(w.url from '^https?://[^/?#]+') as target, w.queue_prefix, w.types, w.labels, w.enabled, w.failures,
  w.next_attempt_at, w.last_attempt_at, w.last_status, w.last_error, w.delivered_at,
  coalesce(signalbox.ms_until(signalbox.clock(), n.at), 0) as lag_ms,
  w.may_have_lost_at, w.version, w.created_at, w.updated_at, w.updated_by
from signalbox.webhooks w
left join lateral (
  select e.at from signalbox.events e
  where (e.xid, e.id) > (w.cursor_xid, w.cursor_id)
  order by e.xid, e.id limit 1
) n on true;
