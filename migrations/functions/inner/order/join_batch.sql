-- The place of one more claim of a batch: where its first one stands, behind those that joined before, unless its rank says
-- otherwise. A batch is open for ten minutes from its first claim; then one of its name begins another: so one that never ends
-- keeps nobody waiting for longer. p_place and p_seq are what the first one has, and a claim of no batch (p_batch null). Under the line's lock.
create or replace function signalbox.join_batch(
  p_queue text, p_kind text, p_batch text, p_batch_rank integer, inout p_place bigint, inout p_seq bigint, out p_rank bigint
)
language plpgsql
as $$
#variable_conflict use_column
declare
  v_now timestamptz := signalbox.clock();
begin
  if p_batch is null then
    p_rank := 0;
    return;
  end if;
  insert into signalbox.batches as b (queue, kind, batch, place, seq, size, begun_at)
    values (p_queue, p_kind, p_batch, p_place, p_seq, 1, v_now)
    on conflict (queue, kind, batch) do update
      set (place, seq, size, begun_at) = (
        select case when o.is_open then b.place else excluded.place end, case when o.is_open then b.seq else excluded.seq end,
          case when o.is_open then b.size + 1 else 1 end, case when o.is_open then b.begun_at else v_now end
        from (select v_now < b.begun_at + interval '10 minutes' as is_open) o)
    returning b.place, b.seq, coalesce(p_batch_rank, 0) * 16777216::bigint + b.size into p_place, p_seq, p_rank;
end $$;
