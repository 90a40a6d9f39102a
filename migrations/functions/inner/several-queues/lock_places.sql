-- Locks all places of a claim on several queues, in (queue, slot) order as renewals do, and says whether it still has all.
create or replace function signalbox.lock_places(p_joint jsonb) returns boolean
language plpgsql
as $$
begin
  perform 1
    from (
      select p.queue, p.slot from jsonb_to_recordset(p_joint -> 'places') as p(queue text, slot integer)
      order by p.queue collate "C", p.slot) x
    cross join lateral (
      select l.ctid from signalbox.leases l where l.queue = x.queue and l.slot = x.slot for no key update) l;
  return not exists (
    select from jsonb_to_recordset(p_joint -> 'places') as x(queue text, slot integer, fencing_token bigint)
    where not exists (
      select from signalbox.leases l
      where l.queue = x.queue and l.slot = x.slot and l.state = 'held' and l.fencing_token = x.fencing_token));
end $$;
