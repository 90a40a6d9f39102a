-- Ends one waiting claim under the line's lock.
create or replace function signalbox.end_waiting(
  p_claim signalbox.waiting, p_state text, p_reason text, p_actor text default null, p_detail text default null
) returns void
language plpgsql
as $$
begin
  delete from signalbox.waiting w where w.claim_id = p_claim.claim_id and w.queue = p_claim.queue;
  if not found then
    return;
  end if;
  perform signalbox.forget_heard(p_claim.queue, p_claim.claim_id);
  update signalbox.lines n set waiting = n.waiting - 1 where n.queue = p_claim.queue;
  insert into signalbox.history (queue, claim_id, holder, state, reason, final, priority, mode, labels, metadata,
      enqueued_at, ended_at, actor, detail)
    values (p_claim.queue, p_claim.claim_id, p_claim.holder, p_state, p_reason, true, p_claim.priority, p_claim.mode,
      p_claim.labels, p_claim.metadata, p_claim.enqueued_at, signalbox.clock(), p_actor, p_detail);
  perform signalbox.record_event('claim.' || p_state, p_claim.queue, p_claim.claim_id, jsonb_strip_nulls(
    jsonb_build_object('holder', p_claim.holder, 'reason', p_reason, 'actor', p_actor, 'detail', p_detail)));
end $$;
