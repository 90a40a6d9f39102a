-- What redrive and purge have in common: locks the line, finds the dead letters that are meant (these ids, or up to p_max of
-- all that died by p_died_by), lets p_verb have them, and says what was not found, whether there are more, and whether a run
-- may be taken now.
create or replace function signalbox.decide_letters(
  p_verb text, p_queue text, p_claim_ids text[], p_actor text, p_max integer, p_died_by timestamptz
) returns setof signalbox_v1.decision
language plpgsql
as $$
declare
  v_died_by timestamptz := coalesce(p_died_by, signalbox.clock());
  v_letters text[];
begin
  if cardinality(p_claim_ids) > p_max then
    raise exception 'signalbox: more than % ids in one call', p_max using errcode = '22023';
  end if;
  perform 1 from signalbox.lines n where n.queue = p_queue for no key update;
  if not found then
    return next (0, 'queue_not_found', p_queue, null, null)::signalbox_v1.decision;
    return;
  end if;
  v_letters := signalbox.letters_of(p_queue, p_claim_ids, p_max, v_died_by);
  if signalbox.has_inbox(p_queue) then
    -- What was enqueued from SQL under one of these ids met a dead letter: it is dropped, not a new run after this call.
    perform signalbox.move_inbox(p_queue, 1, l.claim_id) from unnest(v_letters) l(claim_id);
  end if;
  if p_verb = 'redrive' then
    return query
      select array_position(p_claim_ids, d.claim_id) - 1, d.code, d.queue, d.claim_id, d.body
      from signalbox.revive(p_queue, v_letters, p_actor) d;
  else
    return query
      select array_position(p_claim_ids, d.claim_id) - 1, d.code, d.queue, d.claim_id, d.body
      from signalbox.drop_letters(p_queue, v_letters, p_actor) d;
  end if;
  return query
    select (min(i.n) - 1)::integer, 'not_found', p_queue, i.claim_id, null::jsonb
    from unnest(p_claim_ids) with ordinality i(claim_id, n) where i.claim_id <> all(v_letters) group by i.claim_id;
  if p_claim_ids is null and cardinality(v_letters) = p_max then
    return next (null, 'next', p_queue, null,
      jsonb_build_object('died_by', signalbox.rfc3339(v_died_by)))::signalbox_v1.decision;
  end if;
  if signalbox.refresh_ready(p_queue) then
    return next (null, 'ready', p_queue, null, null)::signalbox_v1.decision;
  end if;
end $$;
