-- All tokens ever made, without their hashes. Not granted to signalbox_reader: names, prefixes and times of use tell who
-- may do what, which somebody who looks after queues need not know.
create or replace view signalbox_v1.tokens as
select
  t.token_id, t.name, t.scope, t.queue_prefix,
  case when t.revoked_at is not null then 'revoked' when t.expires_at <= signalbox.clock() then 'expired'
    else 'live' end as state,
  t.created_at, t.created_by, t.expires_at, t.revoked_at, t.last_used_at
from signalbox.tokens t;
