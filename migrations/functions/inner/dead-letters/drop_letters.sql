-- Drops dead letters, payload and all, under the line's lock; those that blocked do so no more. How they ended is known as
-- long as history is. The caller refreshes what is ready.
create or replace function signalbox.drop_letters(
  p_queue text, p_claim_ids text[], p_actor text default null, p_detail text default null
) returns setof signalbox_v1.decision
language plpgsql
as $$
declare
  v_now timestamptz := signalbox.clock();
  v_before integer;
  v_left integer;
begin
  select n.blockers into v_before from signalbox.lines n where n.queue = p_queue;
  return query
  with letters as (
    delete from signalbox.dead_letters x where x.ctid = any(array(
      select o.ctid from unnest(p_claim_ids) i(claim_id) cross join lateral (
        select x.ctid from signalbox.dead_letters x where x.queue = p_queue and x.claim_id = i.claim_id limit 1) o))
    returning x.queue, x.claim_id, x.reason, x.blocks),
  counted as (
    update signalbox.lines n set dead = n.dead - c.letters, blockers = n.blockers - c.blockers
      from (select count(*) as letters, count(*) filter (where l.blocks) as blockers from letters l) c
      where n.queue = p_queue),
  told as (
    insert into signalbox.events (at, type, queue, claim_id, data)
      select v_now, 'claim.purged', l.queue, l.claim_id, jsonb_strip_nulls(jsonb_build_object('reason', l.reason,
        'actor', p_actor, 'detail', p_detail))
      from letters l)
  select null::integer, 'purged', l.queue, l.claim_id, null::jsonb from letters l;
  select n.blockers into v_left from signalbox.lines n where n.queue = p_queue;
  if v_before > 0 and v_left = 0 then
    perform signalbox.record_event('queue.unblocked', p_queue, null,
      jsonb_strip_nulls(jsonb_build_object('actor', p_actor, 'detail', p_detail)));
  end if;
end $$;
