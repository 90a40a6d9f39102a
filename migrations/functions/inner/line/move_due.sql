-- Moves what was delayed and is due now into the line, each at its old place, at most p_max. The line must be locked by an
-- earlier statement. The caller advances the line.
create or replace function signalbox.move_due(p_queue text, p_max integer default 100) returns integer
language plpgsql
as $$
declare
  v_now timestamptz := signalbox.clock();
  v_claims integer;
  v_runs integer;
  v_blockers integer;
  v_several integer;
  v_left integer;
begin
  with due as (
    delete from signalbox.delayed d where d.ctid = any(array(
      select e.ctid from signalbox.delayed e where e.queue = p_queue and e.kind <> '' and e.due_at <= v_now
      order by e.queue, e.due_at limit p_max))
    returning d.*),
  in_line as (
    insert into signalbox.waiting (queue, claim_id, kind, seq, priority, mode, holder, ttl_ms, lapsed_offers, labels,
        metadata, enqueued_at, attempts, place, rank, weight, joint, wait_until)
      select d.queue, d.claim_id, d.kind, d.seq, d.priority, d.mode, d.holder, d.ttl_ms, d.lapsed_offers, d.labels,
        d.metadata, d.enqueued_at, d.attempts, d.place, d.rank, d.weight, d.joint, d.wait_until
      from due d),
  -- How long a claim may be silent counts from now. A row that is locked is being heard now (see forget_heard).
  heard as (
    update signalbox.heard h set heard_at = greatest(h.heard_at, v_now)
      where h.ctid = any(array(
        select o.ctid from due d cross join lateral (
          select g.ctid from signalbox.heard g where g.queue = d.queue and g.claim_id = d.claim_id
          for no key update skip locked) o
        where d.kind = 'claim'))),
  silent as (
    insert into signalbox.heard (queue, claim_id, heard_at, listens_until)
      select d.queue, d.claim_id, v_now, v_now from due d where d.kind = 'claim'
      on conflict (queue, claim_id) do nothing)
  select count(*) filter (where d.kind = 'claim'), count(*) filter (where d.kind = 'run'),
      count(*) filter (where d.blocks), coalesce(sum(signalbox.asks_several(d.weight, d.joint)), 0)
    into v_claims, v_runs, v_blockers, v_several from due d;
  update signalbox.lines n
    set waiting = n.waiting + v_claims, runs = n.runs + v_runs, delayed = n.delayed - v_claims - v_runs,
        blockers = n.blockers - v_blockers, several = n.several + v_several,
        next_due_at = (select d.due_at from signalbox.delayed d where d.queue = p_queue and d.kind <> ''
                       order by d.queue, d.due_at limit 1)
    where n.queue = p_queue returning n.blockers into v_left;
  if v_blockers > 0 and v_left = 0 then
    perform signalbox.record_event('queue.unblocked', p_queue, null, '{}');
  end if;
  return v_claims + v_runs;
end $$;
