-- Operator's verb: a run that blocks its line is passed over. A delayed one ends as dead (reason skipped) and is kept as a
-- dead letter that blocks nobody; a dead letter stays and blocks no more. Codes: skipped (body: the ended claim),
-- not_blocking, claim_not_found, queue_not_found; rows without item tell what the line did.
create or replace function signalbox_v1.skip_run(
  p_queue text, p_claim_id text, p_actor text, p_reason text default null
) returns setof signalbox_v1.decision
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '2s'
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
declare
  v_line signalbox.lines;
  v_run signalbox.delayed;
  v_blockers integer;
  v_answer signalbox_v1.decision := (0, 'skipped', p_queue, p_claim_id, null);
begin
  perform signalbox.require_read_committed();
  perform 1 from signalbox.lines n where n.queue = p_queue for no key update;
  if not found then
    return next (0, 'queue_not_found', p_queue, p_claim_id, null)::signalbox_v1.decision;
    return;
  end if;
  perform signalbox.move_inbox(p_queue, 1, p_claim_id);
  select * into v_line from signalbox.lines n where n.queue = p_queue;
  v_run := signalbox.find_queued(p_queue, p_claim_id);
  -- Also one that is due already: as long as nobody has moved it into the line, it blocks.
  if v_run.blocks then
    perform signalbox.record_event('claim.skipped', p_queue, p_claim_id,
      jsonb_strip_nulls(jsonb_build_object('state', 'delayed', 'actor', p_actor, 'reason', p_reason)));
    perform signalbox.end_waiting(v_run, 'dead', 'skipped', p_actor, p_reason);
  else
    update signalbox.dead_letters x set blocks = false
      where x.queue = p_queue and x.claim_id = p_claim_id and x.blocks;
    if not found then
      v_answer.code := case when signalbox.knows(v_line, p_claim_id) then 'not_blocking' else 'claim_not_found' end;
      return next v_answer;
      return;
    end if;
    update signalbox.lines n set blockers = n.blockers - 1 where n.queue = p_queue returning n.blockers into v_blockers;
    perform signalbox.record_event('claim.skipped', p_queue, p_claim_id,
      jsonb_strip_nulls(jsonb_build_object('state', 'dead', 'actor', p_actor, 'reason', p_reason)));
    if v_blockers = 0 then
      perform signalbox.record_event('queue.unblocked', p_queue, null,
        jsonb_strip_nulls(jsonb_build_object('actor', p_actor, 'reason', p_reason)));
    end if;
  end if;
  v_answer.body := signalbox.ended_claim_now(v_line, p_claim_id);
  if v_answer.body is null then
    v_answer.body := signalbox.dead_letter_body(p_queue, p_claim_id);
  end if;
  return next v_answer;
  if v_run.blocks then
    -- For whoever waits to see it taken.
    return next (null, 'ended', p_queue, p_claim_id, v_answer.body)::signalbox_v1.decision;
  end if;
  return query select * from signalbox.advance_line(p_queue);
end $$;
