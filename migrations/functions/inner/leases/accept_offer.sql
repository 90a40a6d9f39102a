-- The holder of an offer was heard: the grant becomes a full one. It touches only the lease row, as a renewal does.
create or replace function signalbox.accept_offer(p_lease signalbox.leases) returns signalbox.leases
language plpgsql
as $$
declare
  v_lease signalbox.leases;
begin
  if p_lease.joint is not null then
    return signalbox.accept_offers(p_lease);
  end if;
  update signalbox.leases l
    set offered = false, renewed_at = signalbox.clock(),
        expires_at = greatest(l.expires_at,
          least(l.hold_until, signalbox.clock() + signalbox.ms(l.ttl_ms)))
    where l.queue = p_lease.queue and l.slot = p_lease.slot and l.state = 'held' and l.offered
      and l.fencing_token = p_lease.fencing_token
    returning * into v_lease;
  return case when found then v_lease else p_lease end;
end $$;
