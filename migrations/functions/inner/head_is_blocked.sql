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
  select w.priority, w.seq into v_head from signalbox.waiting w
    where w.queue = p_line.queue and w.kind = 'run' order by w.priority desc, w.seq limit 1;
  return found and signalbox.stands_behind_blocker(p_line, v_head.priority, v_head.seq);
end $$;
