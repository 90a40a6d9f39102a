-- The one deciding call: a batch of independent operations
--   {"op": "acquire", "queue", "claim_id", "holder", "priority", "ttl_ms", "mode", "labels", "metadata", "listen_ms",
--     "fresh"}
--   {"op": "release", "queue", "claim_id", "fencing_token", "outcome", "retry_after_ms", "error",
--     "uncounted", "holder" (only where it is to be checked)}
--   {"op": "return",  "queue", "claim_id", "fencing_token", "request_id"}, of a run that its taker never learnt of
--   {"op": "enqueue", "queue", "claim_id", "payload" (its JSON text), "priority", "labels", "delay_ms", "max_attempts",
--     "max_age_ms", "fresh"}
--   {"op": "cancel",  "queue", "claim_id"}
--   {"op": "break",   "queue", "claim_id", "reason", "actor"}
-- One row answers each operation (item = its index from 0); rows without item tell what happened to other claims, and
-- (code ready) that a run of a queue may be taken. Within a queue endings come before acquires, each in the order given.
-- A line that somebody else holds is skipped (code line_busy) unless p_wait; then it is waited for, at most 250 ms (55P03
-- for the whole call). A bad item is a code, never an exception.
create or replace function signalbox_v1.decide(p_items jsonb, p_wait boolean default false)
returns setof signalbox_v1.decision
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '250ms'
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
as $$
declare
  v_lines signalbox.lines[];
  v_line signalbox.lines;
  v_operation record;
  v_queues text[];
  v_queue text := null;
  v_decision signalbox_v1.decision;
  v_answered integer[] := '{}';
  v_released text[] := '{}';
  v_must_advance boolean := false;
begin
  perform signalbox.require_read_committed();

  -- A poll of a waiting claim is heard and answered without the line's lock, unless its line could move. (Not where
  -- lines are waited for: a heard row locked before a line is the wrong order.)
  if not p_wait then
    for v_decision in select * from signalbox.hear_waiting(p_items) loop
      v_answered := v_answered || v_decision.item;
      return next v_decision;
    end loop;
  end if;

  v_queues := array(
    select distinct o.value ->> 'queue' from jsonb_array_elements(p_items) with ordinality o(value, place)
    where o.place - 1 <> all(v_answered));

  -- Lock in this statement, decide in later ones: they see what was committed before the locks were granted. An array
  -- (not a subquery) keeps the plan on the index, whatever the number of queues.
  if p_wait then
    select array_agg(l.line) into v_lines from (
      select n as line from signalbox.lines n where n.queue = any(v_queues)
      order by n.queue for no key update of n) l;
  else
    select array_agg(l.line) into v_lines from (
      select n as line from signalbox.lines n where n.queue = any(v_queues)
      order by n.queue for no key update of n skip locked) l;
  end if;

  -- The usual cases first, each for the whole batch in one statement; what they leave is decided one by one below.
  for v_decision in select * from signalbox.release_held(p_items, v_lines) loop
    v_answered := v_answered || v_decision.item;
    v_released := v_released || v_decision.queue;
    return next v_decision;
  end loop;
  for v_queue in
    select n.queue from signalbox.lines n
    where n.queue = any(v_released) and (n.waiting > 0 or n.runs > 0 or n.next_due_at <= signalbox.clock())
    order by n.queue
  loop
    return query select * from signalbox.advance_line(v_queue);
  end loop;
  v_queue := null;
  for v_decision in select * from signalbox.grant_free(p_items, v_lines, v_answered) loop
    v_answered := v_answered || v_decision.item;
    return next v_decision;
  end loop;
  for v_decision in select * from signalbox.decide_enqueues(p_items, v_lines) loop
    if v_decision.item is not null then
      v_answered := v_answered || v_decision.item;
    end if;
    return next v_decision;
  end loop;
  if cardinality(v_answered) = jsonb_array_length(p_items) then
    return;
  end if;

  for v_operation in
    select (o.n - 1)::integer as item, x.*
    from jsonb_array_elements(p_items) with ordinality o(value, n),
      jsonb_to_record(o.value) as x(op text, queue text, claim_id text, holder text, priority integer, ttl_ms integer,
        mode text, labels jsonb, metadata jsonb, listen_ms integer, fresh boolean, fencing_token bigint, outcome text,
        retry_after_ms bigint, error text, request_id text,
        uncounted boolean, reason text, actor text)
    where o.n - 1 <> all(v_answered)
    order by x.queue collate "C", (x.op = 'acquire'), o.n
  loop
    if v_queue is distinct from v_operation.queue then
      if v_must_advance then
        return query select * from signalbox.advance_line(v_queue);
        v_must_advance := false;
      end if;
      v_queue := v_operation.queue;
      v_line := null;
      select l.* into v_line from unnest(v_lines) l where l.queue = v_queue;
    end if;
    if v_line.queue is null then
      return next signalbox.undecided(v_operation.item, v_operation.op, v_queue, v_operation.claim_id,
        v_operation.fencing_token);
      continue;
    end if;
    if v_operation.op = 'acquire' then
      if v_must_advance then
        return query select * from signalbox.advance_line(v_queue);
        v_must_advance := false;
      end if;
      return query select * from signalbox.decide_acquire(v_line, v_operation.item, v_operation.claim_id,
        v_operation.holder, coalesce(v_operation.priority, 0), v_operation.ttl_ms, coalesce(v_operation.mode, 'wait'),
        v_operation.labels, v_operation.metadata, coalesce(v_operation.listen_ms, 0),
        coalesce(v_operation.fresh, false));
    else
      if v_operation.op in ('cancel', 'break') then
        -- What is cancelled may be in the inbox still.
        perform signalbox.move_inbox(v_queue, 1, v_operation.claim_id);
      end if;
      v_decision := case v_operation.op
        when 'release' then signalbox.decide_release(v_line, v_operation.item, v_operation.claim_id,
          v_operation.fencing_token, v_operation.outcome, v_operation.retry_after_ms, v_operation.error,
          coalesce(v_operation.uncounted, false), v_operation.holder)
        when 'return' then signalbox.decide_return(v_line, v_operation.item, v_operation.claim_id,
          v_operation.fencing_token, v_operation.request_id)
        when 'cancel' then signalbox.decide_cancel(v_line, v_operation.item, v_operation.claim_id)
        when 'break' then signalbox.decide_break(v_line, v_operation.item, v_operation.claim_id, v_operation.reason,
          v_operation.actor)
        else (v_operation.item, 'unknown_operation', v_queue, v_operation.claim_id, null)::signalbox_v1.decision end;
      return next v_decision;
      v_must_advance := v_must_advance
        or v_decision.code in ('released', 'cancelled', 'broken', 'already_ended', 'release_requested')
          and exists (select 1 from signalbox.lines n where n.queue = v_queue
            and (n.waiting > 0 or n.runs > 0 or n.next_due_at <= signalbox.clock()));
    end if;
  end loop;
  if v_must_advance then
    return query select * from signalbox.advance_line(v_queue);
  end if;
end $$;
