-- The newest claim that supersedes this one, which was held and is about to wait again (null = none): one that came later
-- and waits or is delayed, or in a queue with cancel_in_progress holds. A claim that gave way to it does not come back before it.
create or replace function signalbox.newer_rival(p_settings signalbox.queues, p_lease signalbox.leases) returns text
language plpgsql stable
as $$
declare
  v_rival text;
begin
  if p_lease.kind <> 'claim' or p_lease.mode <> 'latest_only' then
    return null;
  end if;
  select r.claim_id into v_rival from (
    select w.claim_id, w.enqueued_at from signalbox.waiting w
    where w.queue || '' = p_lease.queue || '' and w.mode = 'latest_only' and w.kind = 'claim' and w.enqueued_at > p_lease.enqueued_at
      and signalbox.supersedes(p_settings, w.mode, w.priority, w.labels,
        p_lease.mode, p_lease.priority, p_lease.labels)
    union all
    select d.claim_id, d.enqueued_at from signalbox.delayed d
    where d.queue = p_lease.queue and d.kind = 'claim' and d.enqueued_at > p_lease.enqueued_at
      and signalbox.supersedes(p_settings, d.mode, d.priority, d.labels,
        p_lease.mode, p_lease.priority, p_lease.labels)
    union all
    select l.claim_id, l.enqueued_at from signalbox.leases l
    where p_settings.cancel_in_progress and l.queue = p_lease.queue and l.state = 'held' and l.kind = 'claim'
      and l.enqueued_at > p_lease.enqueued_at
      and signalbox.supersedes(p_settings, l.mode, l.priority, l.labels,
        p_lease.mode, p_lease.priority, p_lease.labels)
    order by enqueued_at desc limit 1) r;
  return v_rival;
end $$;
