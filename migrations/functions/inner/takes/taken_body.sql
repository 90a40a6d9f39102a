-- A run that is held, with what it carries. The payload goes as text: jsonb would keep neither its form nor every value.
create or replace function signalbox.taken_body(p_lease signalbox.leases, p_run signalbox.runs) returns jsonb
language sql volatile
as $$
  select signalbox.lease_body(p_lease)
    || jsonb_build_object('max_attempts', p_run.max_attempts, 'payload', p_run.payload::text)
$$;
