-- What a newcomer with mode latest_only does to older holders in a queue with cancel_in_progress, once it is clear that it is
-- granted or waits: those that it would have ended, had they waited, are asked to release, each once. They are never ended.
-- Under the line's lock; one that is being renewed just now is waited for.
create or replace function signalbox.ask_older(
  p_line signalbox.lines, p_settings signalbox.queues, p_claim signalbox.waiting
) returns void
language plpgsql
as $$
declare
  v_slots integer[];
begin
  if p_claim.mode <> 'latest_only' or not p_settings.cancel_in_progress then
    return;
  end if;
  -- Locked in the order of slots, as renewals do it.
  v_slots := array(
    select o.slot from (
      select l.slot from signalbox.leases l
      where l.queue = p_line.queue and l.state = 'held' and l.kind = 'claim' and not l.release_requested
        and signalbox.supersedes(p_settings, p_claim.mode, p_claim.priority, p_claim.labels,
          l.mode, l.priority, l.labels)
      order by l.slot for no key update) o);
  with asked as (
    update signalbox.leases l set release_requested = true
      where l.queue = p_line.queue and l.slot = any(v_slots) and l.state = 'held'
      returning l.*)
  insert into signalbox.events (at, type, queue, claim_id, data)
    select signalbox.clock(), 'lease.release_requested', a.queue, a.claim_id, signalbox.labelled(
      jsonb_build_object('holder', a.holder, 'slot', a.slot, 'fencing_token', a.fencing_token, 'reason', 'superseded',
        'detail', p_claim.claim_id), a.labels)
    from asked a;
end $$;
