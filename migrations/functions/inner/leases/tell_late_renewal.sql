-- The event of a renewal past its expiry, before anybody took the place. p_lease: as it is now; p_until: when it would have run out.
create or replace function signalbox.tell_late_renewal(
  p_lease signalbox.leases, p_until timestamptz, p_now timestamptz
) returns void
language sql
as $$
  select signalbox.record_event('lease.renewed_late', p_lease.queue, p_lease.claim_id, signalbox.labelled(jsonb_build_object(
    'late_by_ms', signalbox.ms_until(p_now, p_until), 'fencing_token', p_lease.fencing_token, 'slot', p_lease.slot),
    p_lease.labels))
$$;
