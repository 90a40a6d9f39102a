-- A slot that somebody cleans, and what was there before.
create or replace function signalbox.cleaning_body(p_lease signalbox.leases) returns jsonb
language sql volatile
as $$ select signalbox.lease_body(p_lease) || jsonb_build_object('previous', p_lease.previous) $$;
