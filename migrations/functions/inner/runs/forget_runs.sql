-- Forgets the runs of these leases, which ended and are not kept as dead letters: array by array, queue, claim, holder, slot.
create or replace function signalbox.forget_runs(
  p_queues text[], p_claim_ids text[], p_holders text[], p_slots integer[]
) returns void
language plpgsql
as $$
begin
  -- By ctid, each looked up by itself: joined, a plan cached on small tables would read all rows when there are many.
  delete from signalbox.runs r where r.ctid = any(array(
    select o.place from unnest(p_queues, p_claim_ids) as e(queue, claim_id) cross join lateral (
      select r.ctid as place from signalbox.runs r where r.queue = e.queue and r.claim_id = e.claim_id limit 1) o));
  delete from signalbox.taken t where t.ctid = any(array(
    select o.place from unnest(p_queues, p_holders, p_slots) as e(queue, holder, slot) cross join lateral (
      select t.ctid as place from signalbox.taken t
      where t.holder = e.holder and t.queue = e.queue and t.slot = e.slot limit 1) o));
end $$;
