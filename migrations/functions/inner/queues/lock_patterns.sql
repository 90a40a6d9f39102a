-- Who makes queues shares this lock until it commits, who changes patterns has it alone: so a queue is either made with the
-- changed pattern or found by the one who spreads the change. A call of its own: the statement after it must see what was
-- committed while it waited. Taken before any line.
create or replace function signalbox.lock_patterns(p_to_change boolean) returns void
language plpgsql
as $$
begin
  if p_to_change then
    perform pg_advisory_xact_lock(hashtext('signalbox'), hashtext('queue_patterns'));
  else
    perform pg_advisory_xact_lock_shared(hashtext('signalbox'), hashtext('queue_patterns'));
  end if;
end $$;
