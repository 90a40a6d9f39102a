-- The one deciding call: a batch of independent operations
--   {"op": "acquire", "queue", "claim_id", "holder", "priority", "ttl_ms", "mode", "labels", "metadata", "listen_ms",
--     "fresh", "batch", "batch_rank", "weight", "also" ([{"queue", "weight"}]), "max_wait_ms"}
--   {"op": "release", "queue", "claim_id", "fencing_token", "outcome", "retry_after_ms", "error",
--     "uncounted", "holder" (only where it is to be checked)}
--   {"op": "return",  "queue", "claim_id", "fencing_token", "request_id"}, of a run that its taker never learnt of
--   {"op": "enqueue", "queue", "claim_id", "payload" (its JSON text), "priority", "labels", "delay_ms", "max_attempts",
--     "max_age_ms", "fresh", "batch", "batch_rank"}
--   {"op": "cancel",  "queue", "claim_id"}
--   {"op": "break",   "queue", "claim_id", "reason", "actor"}
-- One row answers each operation (item = its index from 0); rows without item tell what happened to other claims, and
-- (code ready) that a run of a queue may be taken. With p_brief a new claim that got a place is `granted`, and
-- the body says what only the database knows of it (grant_body); otherwise it is `held`, with the whole lease. Within a queue endings come before acquires, each in the order given.
-- A line that somebody else holds is skipped (code line_busy) unless p_wait; then it is waited for, at most 250 ms (55P03
-- for the whole call). A bad item is a code, never an exception.
create or replace function signalbox_v1.decide(
  p_items jsonb, p_wait boolean default false, p_brief boolean default false
)returns setof signalbox_v1.decision
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '250ms'
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
as $$
declare
  v_operations signalbox.operation[];
  v_operation record;
  v_queues text[];
  v_locked text[];
  v_movable text[];       -- queues where a place that becomes free is for somebody
  v_served record;        -- of serve_heads
  v_apart text[];         -- queues whose operations are decided one by one
  v_crowded text[];       -- queues of which more than one operation is still to be decided
  v_is_crowded boolean;   -- a queue is named more than once
  v_is_poll boolean;      -- an acquire may be about a claim that is known
  v_is_waited_for boolean; -- and it waits
  v_has_acquires boolean;
  v_may_grant boolean;    -- there is a line in which nobody waits
  v_has_releases boolean;
  v_has_enqueues boolean;
  v_answered integer[] := '{}';
  v_known integer[] := '{}';
  v_decisions signalbox_v1.decision[];
  v_decision signalbox_v1.decision;
  v_queue text := null;
  v_line signalbox.lines;
  v_must_advance boolean := false;
  v_varied text[];        -- queues with runs, with what is delayed, or with dead letters
  v_memory_ms integer;    -- how long claims are remembered, at most
  v_is_calm boolean;      -- there was no failover, or it was accepted
  v_failover_at timestamptz;
begin
  if current_setting('transaction_isolation') <> 'read committed' then
    perform signalbox.require_read_committed();
  end if;

  v_operations := array(select o from jsonb_populate_recordset(null::signalbox.operation, p_items) o);
  -- With the rest, so as not to be a statement of its own: whether the timeline of the database is the known one.
  select array_agg(distinct o.queue), count(distinct o.queue) < count(*),
      bool_or(o.op = 'acquire' and o.fresh is not true), bool_or(o.op = 'acquire'), bool_or(o.op = 'release'),
      bool_or(o.op = 'enqueue'),
      bool_or(o.op = 'acquire' and o.fresh is not true and (
        select 1 from signalbox.waiting w where w.claim_id = o.claim_id and w.queue = o.queue limit 1) is not null),
      (select t.changed_at is null or t.accepted_at is not null from signalbox.timeline t
       where t.id = 1 and t.timeline = signalbox.current_timeline())
    into v_queues, v_is_crowded, v_is_poll, v_has_acquires, v_has_releases, v_has_enqueues, v_is_waited_for,
      v_is_calm
    from unnest(v_operations) o;
  if v_is_calm is not true then
    v_failover_at := signalbox.failover_at();
  end if;

  -- A poll of a waiting claim is heard and answered without the line's lock, unless its line could move. (Not where
  -- lines are waited for: a heard row locked before a line is the wrong order.)
  if v_is_waited_for and not p_wait then
    for v_decision in select * from signalbox.hear_waiting(v_operations) loop
      v_answered := v_answered || v_decision.item;
      return next v_decision;
    end loop;
    if v_answered <> '{}' then
      v_queues := array(
        select distinct o.queue from unnest(v_operations) with ordinality o where o.ordinality - 1 <> all(v_answered));
    end if;
  end if;

  -- Lock in this statement, decide in later ones: they see what was committed before the locks were granted. An array
  -- (not a subquery) keeps the plan on the index, whatever the number of queues.
  if p_wait and exists (select from unnest(v_operations) o where o.also is not null) then
    perform signalbox.await_lines(array(
      select q.queue from unnest(v_queues) q(queue) union
      select x.queue from unnest(v_operations) o cross join lateral jsonb_to_recordset(o.also) as x(queue text)));
  elsif p_wait then
    perform 1 from signalbox.lines n where n.queue = any(v_queues) order by n.queue for no key update of n;
  end if;
  select coalesce(array_agg(n.queue), '{}'),
      coalesce(array_agg(n.queue) filter (
        where n.waiting > 0 or n.runs > 0 or n.next_due_at <= signalbox.clock()), '{}'),
      coalesce(array_agg(n.queue) filter (where n.wide or n.paused or n.rotates or n.cleanup or n.closed), '{}'),
      bool_or(n.waiting = 0),
      coalesce(array_agg(n.queue) filter (where v_is_poll and n.runs + n.delayed + n.dead > 0), '{}'),
      (select max(q.claim_memory_ms) from signalbox.queues q where v_is_poll and q.queue = any(v_queues))
    into v_locked, v_movable, v_apart, v_may_grant, v_varied, v_memory_ms
    from (
      select n.queue, n.wide, n.paused, n.rotates, n.cleanup, n.closed, n.waiting, n.runs, n.delayed, n.dead,
        n.next_due_at
      from signalbox.lines n where n.queue = any(v_queues)
      order by n.queue for no key update of n skip locked) n;
  if v_failover_at > signalbox.clock() - interval '1 day' then
    v_apart := v_apart || array(
      select q.queue from unnest(v_queues) q(queue) where signalbox.quarantine_end(q.queue, v_failover_at) is not null);
  end if;
  if cardinality(v_locked) < cardinality(v_queues) then
    v_apart := v_apart || array(select q.queue from unnest(v_queues) q(queue) where q.queue <> all(v_locked));
  end if;

  -- The usual cases first, each for the whole batch in one statement; what they leave is decided one by one below.
  if v_has_releases then
    if v_is_crowded then
      -- Endings keep their order, and a claim that is released twice is released once.
      v_apart := v_apart || array(
        select o.queue from unnest(v_operations) o where o.op not in ('acquire', 'release', 'enqueue')
        union
        select o.queue from unnest(v_operations) o where o.op = 'release'
        group by o.queue, o.claim_id having count(*) > 1);
    end if;
    v_decisions := signalbox.release_held(v_operations, v_apart);
    return query select * from unnest(v_decisions);
    v_answered := v_answered || array(select d.item from unnest(v_decisions) d);
    if v_movable <> '{}' then
      v_movable := array(
        select distinct d.queue collate "C" from unnest(v_decisions) d where d.queue = any(v_movable) order by 1);
    end if;
    if v_movable <> '{}' then
      v_served := signalbox.serve_heads(v_movable);
      return query select * from unnest(v_served.decisions);
      foreach v_queue in array v_movable loop
        if v_queue <> all(v_served.served) then
          return query select * from signalbox.advance_line(v_queue);
        end if;
      end loop;
      v_queue := null;
    end if;
  end if;
  if v_is_poll then
    v_known := signalbox.known_claims(v_operations, v_varied, v_memory_ms);
  end if;
  if v_has_acquires and v_may_grant then
    v_crowded := case when v_is_crowded then array(
      select o.queue from unnest(v_operations) with ordinality o where o.ordinality - 1 <> all(v_answered)
      group by o.queue having count(*) > 1) else '{}' end;
    v_decisions := signalbox.grant_free(v_operations, v_answered || v_known, v_apart || v_crowded);
    if not p_brief then
      v_decisions := signalbox.whole_leases(v_decisions);
    end if;
    return query select * from unnest(v_decisions);
    v_answered := v_answered || array(select d.item from unnest(v_decisions) d);
  end if;
  if v_has_enqueues then
    for v_decision in select * from signalbox.decide_enqueues(p_items, v_locked) loop
      if v_decision.item is not null then
        v_answered := v_answered || v_decision.item;
      end if;
      return next v_decision;
    end loop;
  end if;
  if cardinality(v_answered) = cardinality(v_operations) then
    return;
  end if;
  if v_has_acquires then
    if v_is_crowded then
      -- Endings come first, a known claim is asked for in its turn, and what was just enqueued is known too.
      v_apart := v_apart || array(
        select o.queue from unnest(v_operations) with ordinality o
        where o.ordinality - 1 <> all(v_answered) and (o.op <> 'acquire' or o.ordinality - 1 = any(v_known))
          or o.op = 'enqueue'
        union
        select o.queue from unnest(v_operations) with ordinality o where o.ordinality - 1 <> all(v_answered)
        group by o.queue, o.claim_id having count(*) > 1);
    end if;
    v_decisions := signalbox.join_full_lines(v_operations, v_answered || v_known, v_apart);
    return query select * from unnest(v_decisions);
    v_answered := v_answered || array(select d.item from unnest(v_decisions) d);
    if cardinality(v_answered) = cardinality(v_operations) then
      return;
    end if;
  end if;

  for v_operation in
    select (o.ordinality - 1)::integer as item, o.*
    from unnest(v_operations) with ordinality o
    where o.ordinality - 1 <> all(v_answered)
    order by o.queue, (o.op = 'acquire'), o.ordinality
  loop
    if v_queue is distinct from v_operation.queue then
      if v_must_advance then
        return query select * from signalbox.advance_line(v_queue);
        v_must_advance := false;
      end if;
      v_queue := v_operation.queue;
      v_line := null;
      if v_queue = any(v_locked) then
        select * into v_line from signalbox.lines n where n.queue = v_queue;
      end if;
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
      v_decisions := array(
        select d from signalbox.decide_acquire(v_line, v_operation.item, v_operations[v_operation.item + 1]) d);
      if not p_brief then
        v_decisions := signalbox.whole_leases(v_decisions);
      end if;
      return query select * from unnest(v_decisions);
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
