-- Every write of the leader begins here. KEY SHARE lets the leader's own renewal (a plain update) pass, and makes a
-- takeover (FOR UPDATE) wait for the write. SQLSTATE SB001 = deposed: stop the term.
create or replace function signalbox.require_term(p_leader text, p_epoch bigint) returns void
language plpgsql
as $$
begin
  perform signalbox.require_read_committed();
  perform 1 from signalbox.orchestrator_lock
    where id = 1 and leader = p_leader and epoch = p_epoch and expires_at > signalbox.clock()
    for key share;
  if not found then
    raise exception 'signalbox: % does not lead epoch %', p_leader, p_epoch using errcode = 'SB001';
  end if;
  -- Where nobody asks for anything, a failover is noticed here.
  perform signalbox.failover_at();
end $$;
