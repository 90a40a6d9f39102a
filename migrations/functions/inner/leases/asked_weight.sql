-- How many places of a queue its claim asked for, whatever the limit gave: put back, it asks for as many again.
create or replace function signalbox.asked_weight(p_lease signalbox.leases) returns integer
language sql immutable
as $$ select coalesce(p_lease.asked, p_lease.weight) $$;
