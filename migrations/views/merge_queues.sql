-- Every merge queue: its settings, who has the lease, how many builds wait, and its mode. open: the highest build may get the
-- lease. held: somebody has it. draining: its holder succeeded, those it completed are being told. inheriting: it did not, and
-- those registered with it go on in turn. window_remaining_ms: null where the window decides nothing.
create or replace view signalbox_v1.merge_queues as
select
  q.queue, q.owner, q.repo, q.base_ref,
  case when g.status is null then 'open' when g.status = 'acquired' then 'held' when g.status = 'completed' then 'draining'
    else 'inheriting' end as mode,
  g.head_sha as holder_sha, g.head_ref as holder_ref, g.priority as holder_priority, g.status as holder_status,
  g.fencing_token, g.acquired_at, g.expires_at, g.ended_at,
  floor(extract(epoch from coalesce(g.ended_at, now.at) - g.acquired_at) * 1000)::bigint as held_ms,
  p.pending, p.highest_priority, p.oldest_wait_ms, q.window_started_at,
  case when g.status is null and p.pending > 0 and p.pending < q.expected_count then greatest(0,
    ceil(extract(epoch from q.window_started_at + signalbox.ms(q.stabilisation_ms) - now.at) * 1000))::bigint end
    as window_remaining_ms,
  q.stabilisation_ms, q.ttl_ms, q.expected_count, q.delay_count, q.hold_ttl_ms, q.success_completes, q.require_token,
  q.refused_acquire_updates, q.settings_version as version, q.auto_created, q.due_at, q.used_at, q.created_at, q.updated_at,
  q.news
from signalbox.merge_queues q
-- Beside the columns, not in them: a volatile one would keep the planner from asking for less than all merge queues.
cross join (select signalbox.clock() as at) now
-- One at most, by the index; limit 1 has it looked up for the rows that are asked for, and for no others.
left join lateral (
  select * from signalbox.merge_requests r where r.queue = q.queue and r.status not in ('pending', 'remembered') limit 1) g on true
cross join lateral (
  select count(*) as pending, max(r.priority) as highest_priority,
         floor(extract(epoch from now.at - min(r.registered_at)) * 1000)::bigint as oldest_wait_ms
  from signalbox.merge_requests r where r.queue = q.queue and r.status = 'pending') p;
