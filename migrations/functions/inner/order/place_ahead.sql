-- Where a claim would stand in line if it joined now (see place_of and join_batch). Nothing is written: no turn is taken.
create or replace function signalbox.place_ahead(
  p_line signalbox.lines, p_settings signalbox.queues, p_claim signalbox.waiting, p_batch text, p_batch_rank integer,
  out place bigint, out seq bigint, out rank bigint
)
language plpgsql
as $$
declare
  v_batch signalbox.batches;
begin
  place := case when p_settings.rotate_by is null
    then signalbox.place_of(p_line, p_settings, 'claim', p_claim.priority, p_claim.enqueued_at, p_claim.labels)
    else p_line.order_base - p_claim.priority * 1000::bigint + greatest(p_line.claim_round, coalesce((
      select t.next_turn from signalbox.turns t
      where t.queue = p_line.queue and t.kind = 'claim'
        and t.value = coalesce(p_claim.labels ->> p_settings.rotate_by, '')), 0)) end;
  seq := p_line.next_seq;
  rank := 0;
  if p_batch is not null and p_settings.rotate_by is null then
    select * into v_batch from signalbox.batches b
      where b.queue = p_line.queue and b.kind = 'claim' and b.batch = p_batch;
    rank := coalesce(p_batch_rank, 0) * 16777216::bigint + coalesce(v_batch.size, 0) + 1;
    if found then
      place := v_batch.place;
      seq := v_batch.seq;
    end if;
  end if;
end $$;
