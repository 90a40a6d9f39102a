-- The feed behind a cursor, in order. Only rows below the oldest transaction that may still write one (see feed_horizon): an
-- event that commits late would otherwise be behind a cursor that has passed it, and never be seen. So the feed may lag
-- behind a long transaction; nothing that must be timely reads it. p_prefix: only events of queues whose name begins so.
-- p_labels: only events of claims that have these labels, {name: value}. p_until: none
-- behind this one, so that a look for what is rare is bounded. p_below_xid: what feed_horizon has told this very statement, for
-- who asks it for more: asked again it may tell less, since a transaction ends without waiting for a statement.
create or replace function signalbox_v1.read_events(
  p_after_xid text, p_after_id bigint, p_queue text, p_prefix text, p_limit integer,
  p_labels jsonb default null, p_until_xid text default null, p_until_id bigint default null,
  p_below_xid text default null
) returns table (cursor_xid text, cursor_id bigint, happened_at text, type text, queue text, claim_id text, data jsonb)
language sql stable security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
as $$
  select e.xid::text, e.id, signalbox.rfc3339(e.at), e.type, e.queue, e.claim_id, e.data
  from signalbox.events e
  where (e.xid, e.id) > (p_after_xid::xid8, p_after_id)
    and e.xid < coalesce(p_below_xid::xid8, (select signalbox.feed_horizon()))
    and (p_until_xid is null or (e.xid, e.id) <= (p_until_xid::xid8, p_until_id))
    and (p_queue is null or e.queue = p_queue)
    and (p_prefix = '' or starts_with(e.queue, p_prefix))
    and (p_labels is null or e.data -> 'labels' @> p_labels)
  order by e.xid, e.id
  limit p_limit
$$;
