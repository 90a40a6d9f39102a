-- The place of one more claim of a batch: where its first one stands, behind those that joined before, unless its rank says
-- otherwise. p_place and p_seq are what the first one has, and a claim of no batch (p_batch null). Under the line's lock.
create or replace function signalbox.join_batch(
  p_queue text, p_kind text, p_batch text, p_batch_rank integer, inout p_place bigint, inout p_seq bigint, out p_rank bigint
)
language plpgsql
as $$
#variable_conflict use_column
begin
  if p_batch is null then
    p_rank := 0;
    return;
  end if;
  insert into signalbox.batches as b (queue, kind, batch, place, seq, size, joined_at)
    values (p_queue, p_kind, p_batch, p_place, p_seq, 1, signalbox.clock())
    on conflict (queue, kind, batch) do update set size = b.size + 1, joined_at = excluded.joined_at
    returning b.place, b.seq, coalesce(p_batch_rank, 0) * 16777216::bigint + b.size into p_place, p_seq, p_rank;
end $$;
