-- Below this transaction the feed is whole for the statement that asks: whoever could still write an event there is over. By
-- its snapshot that is the oldest transaction that runs, but a snapshot knows those of every database of the server. So
-- where an event has been kept back for half a second, the running ones are looked at more closely: who holds a lock in
-- another database has its connection there, and will never write here. Whoever shows none counts as one of ours. A standby
-- knows of no locks, and its snapshots do not list who runs. What is below it is whole for good; yet asked again it may be lower.
create or replace function signalbox.feed_horizon() returns xid8
language plpgsql stable
as $$
declare
  v_snapshot pg_snapshot := pg_current_snapshot();
  v_kept_back_at timestamptz;
  v_database oid;
  v_horizon xid8;
begin
  select e.at into v_kept_back_at from signalbox.events e
    where e.xid >= pg_snapshot_xmin(v_snapshot) order by e.xid, e.id limit 1;
  if v_kept_back_at is null or v_kept_back_at > signalbox.clock() - interval '500 ms' or pg_is_in_recovery() then
    return pg_snapshot_xmin(v_snapshot);
  end if;
  select d.oid into v_database from pg_database d where d.datname = current_database();
  with locks as materialized (
    select k.virtualtransaction, k.transactionid, k.database from pg_locks k
    where k.granted and (k.locktype <> 'transactionid' or k.mode = 'ExclusiveLock')),
  elsewhere as (
    select t.transactionid from locks t
    where exists (select from locks o
      where o.virtualtransaction = t.virtualtransaction and o.database not in (0, v_database)))
  select x.xid into v_horizon from (
    select pg_snapshot_xmax(v_snapshot) as xid
    union all
    select pg_current_xact_id_if_assigned()
    union all
    select r.xid from pg_snapshot_xip(v_snapshot) r(xid)
    where not exists (select from elsewhere e where e.transactionid = r.xid::xid)) x
    where x.xid is not null order by x.xid limit 1;
  return v_horizon;
end $$;
