-- Why a lease on several queues is over that lacks one of its places: how that place ended.
create or replace function signalbox.lost_place_reason(p_lease signalbox.leases) returns text
language sql stable
as $$
  select coalesce((
    select signalbox.ended_token_reason(x.queue, p_lease.claim_id, x.fencing_token)
    from jsonb_to_recordset(p_lease.joint -> 'places') as x(queue text, slot integer, fencing_token bigint)
    where not exists (
      select from signalbox.leases l
      where l.queue = x.queue and l.slot = x.slot and l.state = 'held' and l.fencing_token = x.fencing_token)
    order by x.queue collate "C" limit 1), 'broken')
$$;
