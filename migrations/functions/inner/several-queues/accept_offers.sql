-- accept_offer for a claim on several queues: all of its places become full ones, or none. Rows are locked in (queue, slot)
-- order, as by a renewal.
create or replace function signalbox.accept_offers(p_lease signalbox.leases) returns signalbox.leases
language plpgsql
as $$
declare
  v_now timestamptz;
  v_lease signalbox.leases;
begin
  if not signalbox.lock_places(p_lease.joint) then
    return p_lease;
  end if;
  v_now := signalbox.clock();
  update signalbox.leases l
    set offered = false, renewed_at = v_now,
        expires_at = greatest(l.expires_at, least(l.hold_until, v_now + signalbox.ms(l.ttl_ms)))
    from jsonb_to_recordset(p_lease.joint -> 'places') as x(queue text, slot integer)
    where l.queue = x.queue and l.slot = x.slot and l.offered;
  select * into v_lease from signalbox.leases l where l.queue = p_lease.queue and l.slot = p_lease.slot;
  return v_lease;
end $$;
