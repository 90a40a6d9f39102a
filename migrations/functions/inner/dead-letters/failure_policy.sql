-- What a retried run of the queue means for those behind it. Unset, a limit of 1 keeps the order strict, and so does one of
-- 0, which is how a queue is stopped for a while.
create or replace function signalbox.failure_policy(p_limit integer, p_on_failure text) returns text
language sql immutable
as $$ select coalesce(p_on_failure, case when p_limit <= 1 then 'wait' else 'step_around' end) $$;
