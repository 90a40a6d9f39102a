-- How many places of a queue its claim asked for: a lease on several queues remembers it, whatever the limit gave.
create or replace function signalbox.asked_weight(p_lease signalbox.leases) returns integer
language sql immutable
as $$ select coalesce(signalbox.weight_in(p_lease.joint, p_lease.queue), p_lease.weight) $$;
