-- Renews exactly this term. No row = deposed. A term that lapsed and that nobody took is revived; renewing never
-- shortens it. Returns the remaining time in ms.
create or replace function signalbox_v1.renew_term(p_replica_id text, p_epoch bigint, p_lease_ms integer)
returns table (remaining_ms bigint)
language sql security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '250ms'
as $$
  update signalbox.orchestrator_lock l
    set renewed_at = signalbox.clock(),
        expires_at = greatest(l.expires_at, signalbox.clock() + signalbox.ms(p_lease_ms))
    where l.id = 1 and l.leader = p_replica_id and l.epoch = p_epoch
    returning signalbox.ms_until(l.expires_at, signalbox.clock())
$$;
