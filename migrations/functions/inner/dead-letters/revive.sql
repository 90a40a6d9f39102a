-- Puts dead letters back into their line, each at its old place, under the line's lock. Attempts go on counting; as many
-- more are allowed as the run was enqueued with, and its age counts from now. What blocked does so no more. max_runs bounds
-- what comes in, not what comes back. The caller refreshes what is ready.
create or replace function signalbox.revive(
  p_queue text, p_claim_ids text[], p_actor text, p_reason text default null
) returns setof signalbox_v1.decision
language plpgsql
as $$
declare
  v_now timestamptz := signalbox.clock();
  v_ttl_ms integer;
  v_before integer;
  v_left integer;
begin
  select q.default_ttl_ms, n.blockers into v_ttl_ms, v_before
    from signalbox.queues q join signalbox.lines n on n.queue = q.queue where q.queue = p_queue;
  return query
  with letters as (
    delete from signalbox.dead_letters x where x.ctid = any(array(
      select o.ctid from unnest(p_claim_ids) i(claim_id) cross join lateral (
        select x.ctid from signalbox.dead_letters x where x.queue = p_queue and x.claim_id = i.claim_id limit 1) o))
    returning x.*, x.attempts + x.max_attempts - x.attempts_before as attempts_max),
  in_line as (
    insert into signalbox.waiting (queue, claim_id, kind, seq, priority, mode, holder, ttl_ms, labels, metadata,
        enqueued_at, attempts, place, rank)
      select l.queue, l.claim_id, 'run', l.seq, l.priority, 'wait', '', v_ttl_ms, l.labels, l.metadata, l.enqueued_at,
        l.attempts, l.place, l.rank
      from letters l),
  carried as (
    insert into signalbox.runs (queue, claim_id, payload, max_attempts, attempts_before, max_age_ms, dead_after)
      select l.queue, l.claim_id, l.payload, l.attempts_max, l.attempts, l.max_age_ms,
        v_now + signalbox.ms(l.max_age_ms)
      from letters l),
  counted as (
    update signalbox.lines n
      set runs = n.runs + c.letters, dead = n.dead - c.letters, blockers = n.blockers - c.blockers
      from (select count(*) as letters, count(*) filter (where l.blocks) as blockers from letters l) c
      where n.queue = p_queue),
  told as (
    insert into signalbox.events (at, type, queue, claim_id, data)
      select v_now, 'claim.redriven', l.queue, l.claim_id, jsonb_strip_nulls(jsonb_build_object('state', 'dead',
        'attempts', l.attempts, 'max_attempts', l.attempts_max, 'actor', p_actor, 'reason', p_reason))
      from letters l)
  select null::integer, 'redriven', l.queue, l.claim_id, signalbox.queued_run_body((l.queue, l.claim_id, 'run', l.seq,
      l.priority, 'wait', '', v_ttl_ms, 0, l.labels, l.metadata, l.enqueued_at, l.attempts, null,
      false, l.place, l.rank, 1, null, null)::signalbox.delayed, l.attempts_max)
  from letters l;
  select n.blockers into v_left from signalbox.lines n where n.queue = p_queue;
  if v_before > 0 and v_left = 0 then
    perform signalbox.record_event('queue.unblocked', p_queue, null,
      jsonb_strip_nulls(jsonb_build_object('actor', p_actor, 'reason', p_reason)));
  end if;
end $$;
