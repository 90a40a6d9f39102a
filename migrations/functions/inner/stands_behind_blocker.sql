-- Whether a run at this place of the order waits because another one failed.
create or replace function signalbox.stands_behind_blocker(p_line signalbox.lines, p_priority integer, p_seq bigint)
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
  return coalesce((p_priority, -p_seq) < (v_blocker.priority, -v_blocker.seq), false);
end $$;
