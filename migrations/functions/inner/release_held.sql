-- The usual release, for a whole batch in one statement: a held lease of a narrow queue whose line this transaction has
-- locked in an earlier statement, by claim and token. What does not fit (a retry, a failed run, a late or wrong token, a
-- claim released twice, a wide queue, a queue of which the batch also cancels or breaks a claim: endings keep their order)
-- gets no row here and is decided one by one. The caller advances the lines afterwards.
create or replace function signalbox.release_held(p_items jsonb, p_lines signalbox.lines[])
returns setof signalbox_v1.decision
language plpgsql
as $$
declare
  v_now timestamptz := signalbox.clock();
begin
  return query
  with items as (
    select (o.n - 1)::integer as item, x.*,
      count(*) filter (where x.op not in ('acquire', 'release', 'enqueue')) over (partition by x.queue) as others,
      count(*) filter (where x.op = 'release') over (partition by x.queue, x.claim_id) as releases
    from jsonb_array_elements(p_items) with ordinality o(value, n),
      jsonb_to_record(o.value) as x(op text, queue text, claim_id text, fencing_token bigint, outcome text,
        error text, holder text)),
  -- Each item looks up its own row (lateral, limit), and the update goes by ctid: joined, a plan cached on small tables
  -- would read all leases when there are many. Sorted, because renewals lock lease rows by (queue, slot) too.
  found as materialized (
    select i.item, i.claim_id, i.fencing_token, i.outcome, i.error, s.place
    from items i
    join unnest(p_lines) n on n.queue = i.queue and not n.wide
    cross join lateral (
      select l.ctid as place, l.slot from signalbox.leases l
      where l.queue = i.queue and l.claim_id = i.claim_id and l.fencing_token = i.fencing_token and l.state = 'held'
        and l.holder = coalesce(i.holder, l.holder) and (l.kind = 'claim' or i.outcome is distinct from 'failure')
      limit 1) s
    where i.op = 'release' and i.others = 0 and i.releases = 1 and i.outcome is distinct from 'retry'
    order by i.queue collate "C", s.slot, i.item),
  ended as (
    update signalbox.leases l set
        state = 'free', ended_at = v_now, end_state = 'released', end_reason = 'released', outcome = f.outcome,
        offered = false, free_after = null, next_free = null
      from found f
      where l.ctid = f.place and l.claim_id = f.claim_id and l.fencing_token = f.fencing_token and l.state = 'held'
      returning f.item, f.error, l.*),
  -- What ends with a run. By ctid, looked up one by one, for the same reason.
  forgotten as (
    delete from signalbox.runs r where r.ctid = any(array(
      select o.ctid from ended e cross join lateral (
        select r.ctid from signalbox.runs r where r.queue = e.queue and r.claim_id = e.claim_id limit 1) o
      where e.kind = 'run'))),
  let_go as (
    delete from signalbox.taken t where t.ctid = any(array(
      select o.ctid from ended e cross join lateral (
        select t.ctid from signalbox.taken t
        where t.holder = e.holder and t.queue = e.queue and t.slot = e.slot limit 1) o
      where e.kind = 'run'))),
  past as (
    insert into signalbox.history (queue, claim_id, holder, state, reason, outcome, final, slot, fencing_token, priority,
        mode, labels, metadata, enqueued_at, acquired_at, expires_at, ended_at, kind, attempt, error)
      select e.queue, e.claim_id, e.holder, 'released', 'released', e.outcome, true, e.slot, e.fencing_token, e.priority,
        e.mode, e.labels, e.metadata, e.enqueued_at, e.acquired_at, e.expires_at, v_now, e.kind, e.attempt, e.error
      from ended e),
  told as (
    insert into signalbox.events (at, type, queue, claim_id, data)
      select v_now, 'lease.released', e.queue, e.claim_id, jsonb_strip_nulls(jsonb_build_object('holder', e.holder,
        'slot', e.slot, 'fencing_token', e.fencing_token, 'reason', 'released', 'outcome', e.outcome, 'error', e.error))
      from ended e)
  select e.item, 'released', e.queue, e.claim_id, '{"state": "released"}'::jsonb from ended e;
end $$;
