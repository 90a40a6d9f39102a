-- Whether a run at this place of the order waits because another one failed.
create or replace function signalbox.stands_behind_blocker(p_line signalbox.lines, p_place bigint, p_seq bigint, p_rank bigint)
returns boolean
language plpgsql stable
as $$
declare
  v_blocker record;
begin
  if p_line.blockers = 0 then
    return false;
  end if;
  v_blocker := signalbox.first_blocker(p_line.queue);
  return coalesce((p_place, p_seq, p_rank) > (v_blocker.place, v_blocker.seq, v_blocker.rank), false);
end $$;
