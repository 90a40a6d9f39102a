-- Operator's verb: drops dead letters of a queue, payload and all. Arguments as those of redrive. Codes: purged, not_found,
-- one row each; next; queue_not_found; ready.
create or replace function signalbox_v1.purge(
  p_queue text, p_claim_ids text[], p_actor text, p_max integer default 100, p_died_by timestamptz default null
) returns setof signalbox_v1.decision
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '2s'
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
declare
  v_died_by timestamptz := coalesce(p_died_by, signalbox.clock());
  v_letters text[];
begin
  perform signalbox.require_read_committed();
  if cardinality(p_claim_ids) > p_max then
    raise exception 'signalbox: more than % ids in one call', p_max using errcode = '22023';
  end if;
  perform 1 from signalbox.lines n where n.queue = p_queue for no key update;
  if not found then
    return next (0, 'queue_not_found', p_queue, null, null)::signalbox_v1.decision;
    return;
  end if;
  -- What is in the inbox came before this call, and an id of it may be one of these: then it is dropped.
  perform signalbox.move_inbox(p_queue, 1000);
  v_letters := signalbox.letters_of(p_queue, p_claim_ids, p_max, v_died_by);
  return query
    select array_position(p_claim_ids, d.claim_id) - 1, d.code, d.queue, d.claim_id, d.body
    from signalbox.drop_letters(p_queue, v_letters, p_actor) d;
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
