-- What a take does for a line before it is served from: runs of the inbox and those that are due come in, leases that ran
-- out are ended, claims that wait get their places first.
create or replace function signalbox.stir_line(p_queue text, p_is_stirred boolean, p_is_named boolean)
returns setof signalbox_v1.decision
language plpgsql
as $$
declare
  v_line signalbox.lines;
begin
  if p_is_stirred then
    perform signalbox.move_inbox(p_queue);
  end if;
  select * into v_line from signalbox.lines n where n.queue = p_queue;
  -- In a wide queue with free places nobody needs to look for leases that ran out, but for a taker that finds nothing else.
  if v_line.waiting > 0 or v_line.next_due_at <= signalbox.clock()
    or (signalbox.count_slots(v_line)).expired > 0
    or v_line.wide and v_line.runs = 0 and p_is_named and exists (
      select 1 from signalbox.leases l
      where l.queue = p_queue and l.state = 'held' and l.kind = 'run' and l.expires_at <= signalbox.clock()) then
    return query select * from signalbox.advance_line(p_queue) d where d.code <> 'ready';
  end if;
end $$;
