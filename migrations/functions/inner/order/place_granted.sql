-- Where a claim stands that is granted at once, because nobody waits: that is where it goes if it is retried, and where the
-- rest of its batch joins. It takes its turn all the same, or its like would have one more. Under the line's lock.
create or replace function signalbox.place_granted(
  p_line signalbox.lines, p_settings signalbox.queues, p_claim signalbox.waiting, p_operation signalbox.operation
) returns signalbox.waiting
language plpgsql
as $$
declare
  v_claim signalbox.waiting := p_claim;
begin
  v_claim.place := signalbox.place_of(p_line, p_settings, 'claim', v_claim.priority, v_claim.enqueued_at, v_claim.labels);
  if p_settings.rotate_by is not null then
    update signalbox.lines n
      set claim_round = signalbox.round_after(n.claim_round, v_claim.place - n.order_base, v_claim.priority)
      where n.queue = p_line.queue;
  elsif p_operation.batch is not null then
    update signalbox.lines n set next_seq = n.next_seq + 1 where n.queue = p_line.queue
      returning n.next_seq - 1 into v_claim.seq;
    select b.p_place, b.p_seq, b.p_rank into v_claim.place, v_claim.seq, v_claim.rank
      from signalbox.join_batch(p_line.queue, 'claim', p_operation.batch, p_operation.batch_rank, v_claim.place, v_claim.seq) b;
  end if;
  return v_claim;
end $$;
