-- Writes down that a webhook is tested, and by whom, before anything goes out to it. What comes back is that event of the
-- feed, which is also what its receiver gets, with where to send it and the secret to sign it. No row = there is no such
-- webhook, and nothing was written.
create or replace function signalbox_v1.begin_webhook_test(
  p_name text, p_actor text default null
) returns table (
  url text, secret text, cursor_xid text, cursor_id bigint, happened_at text, type text, queue text, claim_id text, data jsonb
)
language sql security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '2s'
as $$
  with w as (select * from signalbox.webhooks where name = p_name),
  e as (
    insert into signalbox.events (at, type, data)
    select signalbox.clock(), 'webhook.tested', jsonb_build_object('webhook', w.name,
      'target', substring(w.url from '^https?://[^/?#]+'), 'version', w.version, 'actor', p_actor)
    from w
    returning *
  )
  select w.url, w.secret, e.xid::text, e.id, signalbox.rfc3339(e.at), e.type, e.queue, e.claim_id, e.data from w, e
$$;
