-- One place of a claim on several queues.
create or replace function signalbox.place_body(p_lease signalbox.leases) returns jsonb
language sql stable
as $$
  select jsonb_build_object('queue', p_lease.queue, 'slot', p_lease.slot, 'fencing_token', p_lease.fencing_token,
    'weight', p_lease.weight)
$$;
