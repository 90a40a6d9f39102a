-- Reads without locks whether a take from this queue, or from those with this prefix, could give something or set
-- something moving. (A lease that ran out is seen for a named queue only; those of a prefix are put back by the leader.)
create or replace function signalbox.may_give(p_queue text, p_prefix text) returns boolean
language plpgsql stable
as $$
begin
  if p_queue is null then
    return exists (
        select 1 from signalbox.ready_queues r
        where r.queue >= p_prefix and r.queue < signalbox.prefix_end(p_prefix))
      or cardinality(signalbox.stirring_queues(p_prefix, 1)) > 0;
  end if;
  return exists (
      select 1 from signalbox.ready_queues r where r.queue = p_queue)
    or exists (select 1 from signalbox.lines n where n.queue = p_queue and n.next_due_at <= signalbox.clock())
    or signalbox.has_inbox(p_queue)
    or exists (
      select 1 from signalbox.leases l
      where l.queue = p_queue and l.state = 'held' and l.kind = 'run' and l.expires_at <= signalbox.clock());
end $$;
