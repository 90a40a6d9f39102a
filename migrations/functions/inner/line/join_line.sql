-- Puts a claim into the line, whose client listens for p_listen_ms from now. Its place is fixed here, under the line's lock.
create or replace function signalbox.join_line(
  p_line signalbox.lines, p_settings signalbox.queues, p_claim signalbox.waiting, p_operation signalbox.operation,
  p_quarantined boolean default false
) returns signalbox.waiting
language plpgsql
as $$
declare
  v_claim signalbox.waiting := p_claim;
  v_is_first boolean;
  v_waiting_for text;
begin
  select n.next_seq into v_claim.seq from signalbox.lines n where n.queue = p_line.queue;
  v_claim.place := signalbox.place_of(p_line, p_settings, 'claim', v_claim.priority, v_claim.enqueued_at, v_claim.labels);
  select b.p_place, b.p_seq, b.p_rank into v_claim.place, v_claim.seq, v_claim.rank
    from signalbox.join_batch(p_line.queue, 'claim', case when p_settings.rotate_by is null then p_operation.batch end,
      p_operation.batch_rank, v_claim.place, v_claim.seq) b;
  -- Why it waits, as at this moment; of a claim on several queues that is not known before they have all been looked at.
  if v_claim.joint is null then
    v_is_first := p_line.waiting = 0 or (
      select 1 from signalbox.waiting w
      where w.queue = p_line.queue and w.kind = 'claim'
        and (w.place, w.seq, w.rank) < (v_claim.place, v_claim.seq, v_claim.rank) limit 1) is null;
    v_waiting_for := signalbox.newcomer_waits_for(p_line, p_settings, v_is_first, p_quarantined);
  end if;
  with counted as (
    update signalbox.lines n
      set waiting = n.waiting + 1, next_seq = n.next_seq + 1,
          several = n.several + signalbox.asks_several(v_claim.weight, v_claim.joint)
      where n.queue = p_line.queue),
  waits as (insert into signalbox.waiting select v_claim.*),
  heard as (
    insert into signalbox.heard (queue, claim_id, heard_at, listens_until)
      select p_line.queue, v_claim.claim_id, v_claim.enqueued_at,
        v_claim.enqueued_at + signalbox.ms(coalesce(p_operation.listen_ms, 0))
      where not signalbox.is_elsewhere(v_claim.joint, p_line.queue)
      on conflict (queue, claim_id) do update set heard_at = excluded.heard_at, listens_until = excluded.listens_until)
  insert into signalbox.events (at, type, queue, claim_id, data)
    values (v_claim.enqueued_at, 'claim.queued', p_line.queue, v_claim.claim_id,
      signalbox.labelled(jsonb_strip_nulls(jsonb_build_object('holder', v_claim.holder, 'priority', v_claim.priority,
        'waiting_for', v_waiting_for)), v_claim.labels));
  return v_claim;
end $$;
