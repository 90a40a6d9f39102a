-- As failover_at, for those who only read and decide nothing: a change that nobody has written down yet, or that is being
-- written down just now, is not seen.
create or replace function signalbox.known_failover_at() returns timestamptz
language sql stable
as $$ select t.changed_at from signalbox.timeline t where t.id = 1 and t.accepted_at is null $$;
