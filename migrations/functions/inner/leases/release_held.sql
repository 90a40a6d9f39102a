-- The usual release, for a whole batch in one statement: a held lease of a narrow queue whose line this transaction has
-- locked in an earlier statement, by claim and token. p_apart: queues whose operations are decided one by one, wide ones
-- among them; of every other queue the batch ends no claim in another way, and none twice. What does not fit (a retry, a
-- failed run, a late or wrong token) gets no decision here and is decided one by one too. The caller advances the lines
-- afterwards.
create or replace function signalbox.release_held(p_operations signalbox.operation[], p_apart text[])
returns signalbox_v1.decision[]
language plpgsql
as $$
declare
  v_now timestamptz := signalbox.clock();
  v_decisions signalbox_v1.decision[];
  v_queues text[]; -- of the runs among them, as the next three
  v_claim_ids text[];
  v_holders text[];
  v_slots integer[];
begin
  -- Each item looks up its own row (lateral, limit), and the update goes by ctid: joined, a plan cached on small tables
  -- would read all leases when there are many. Sorted, because renewals lock lease rows by (queue, slot) too.
  with found as materialized (
    select (o.ordinality - 1)::integer as item, o.claim_id, o.fencing_token, o.outcome, o.error, s.place
    from unnest(p_operations) with ordinality o
    cross join lateral (
      select l.ctid as place, l.slot from signalbox.leases l
      where l.queue = o.queue and l.claim_id = o.claim_id and l.fencing_token = o.fencing_token and l.state = 'held'
        and l.joint is null and l.holder = coalesce(o.holder, l.holder) and (l.kind = 'claim' or l.kind = 'run' and o.outcome is distinct from 'failure')
      limit 1) s
    where o.op = 'release' and o.outcome is distinct from 'retry' and o.queue <> all(p_apart)
    order by o.queue, s.slot, o.ordinality),
  ended as (
    update signalbox.leases l set
        state = 'free', ended_at = v_now, end_state = 'released', end_reason = 'released', outcome = f.outcome,
        offered = false, free_after = null, next_free = null,
        typical_hold_ms = signalbox.typical_hold_ms(l.typical_hold_ms, l.acquired_at, v_now)
      from found f
      where l.ctid = f.place and l.claim_id = f.claim_id and l.fencing_token = f.fencing_token and l.state = 'held'
      returning f.item, f.error, l.queue, l.claim_id, l.holder, l.outcome, l.slot, l.fencing_token, l.priority, l.mode,
        l.labels, l.metadata, l.enqueued_at, l.acquired_at, l.expires_at, l.kind, l.attempt),
  past as (
    insert into signalbox.history (queue, claim_id, holder, state, reason, outcome, final, slot, fencing_token, priority,
        mode, labels, metadata, enqueued_at, acquired_at, expires_at, ended_at, kind, attempt, error)
      select e.queue, e.claim_id, e.holder, 'released', 'released', e.outcome, true, e.slot, e.fencing_token, e.priority,
        e.mode, e.labels, e.metadata, e.enqueued_at, e.acquired_at, e.expires_at, v_now, e.kind, e.attempt, e.error
      from ended e),
  told as (
    insert into signalbox.events (at, type, queue, claim_id, data)
      select v_now, 'lease.released', e.queue, e.claim_id,
        signalbox.labelled(case when e.outcome is null and e.error is null
          then jsonb_build_object('holder', e.holder, 'slot', e.slot, 'fencing_token', e.fencing_token,
            'reason', 'released')
          else jsonb_strip_nulls(jsonb_build_object('holder', e.holder, 'slot', e.slot, 'fencing_token',
            e.fencing_token, 'reason', 'released', 'outcome', e.outcome, 'error', e.error)) end, e.labels)
      from ended e)
  select array_agg((e.item, 'released', e.queue, e.claim_id, '{"state": "released"}')::signalbox_v1.decision),
      array_agg(e.queue) filter (where e.kind = 'run'), array_agg(e.claim_id) filter (where e.kind = 'run'),
      array_agg(e.holder) filter (where e.kind = 'run'), array_agg(e.slot) filter (where e.kind = 'run')
    into v_decisions, v_queues, v_claim_ids, v_holders, v_slots from ended e;
  if v_queues is not null then
    perform signalbox.forget_runs(v_queues, v_claim_ids, v_holders, v_slots);
  end if;
  return coalesce(v_decisions, '{}');
end $$;
