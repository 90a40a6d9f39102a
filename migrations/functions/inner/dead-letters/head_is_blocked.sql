-- Whether the first run in line stands behind a blocker: then none may be taken.
create or replace function signalbox.head_is_blocked(p_line signalbox.lines) returns boolean
language plpgsql stable
as $$
declare
  v_head record;
begin
  if p_line.blockers = 0 then
    return false;
  end if;
  select w.place, w.seq, w.rank into v_head from signalbox.waiting w
    where w.queue = p_line.queue and w.kind = 'run' order by w.place, w.seq, w.rank limit 1;
  return found and signalbox.stands_behind_blocker(p_line, v_head.place, v_head.seq, v_head.rank);
end $$;
