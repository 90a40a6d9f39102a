-- The usual joining of a line, for a whole batch in one statement: claims that nobody has heard of yet, in narrow queues where
-- every place is taken, no lease has run out and nothing is due, so that they wait and nothing can move. Call it as
-- grant_free, after everything else of the batch that concerns these queues. p_not: items that are answered already, or ask for a
-- known claim. p_apart: queues whose operations are decided one by one; of every other queue the batch has only acquires of
-- different claims left. Of a queue with one that does not fit none gets a decision here, for they keep their order; they are
-- decided one by one (decide_acquire, which join_line serves by the same rules).
create or replace function signalbox.join_full_lines(
  p_operations signalbox.operation[], p_not integer[], p_apart text[]
) returns signalbox_v1.decision[]
language plpgsql
as $$
declare
  v_now timestamptz := signalbox.clock();
  v_enqueued_at text := signalbox.rfc3339(v_now);
  v_decisions signalbox_v1.decision[];
begin
  -- Each item looks up its own rows (lateral, limit), and the line is changed by ctid: joined, a plan cached on small tables
  -- would read all of them when there are many.
  with newcomer as materialized (
    select (o.ordinality - 1)::integer as item, o.queue, o.claim_id, o.holder, coalesce(o.priority, 0) as priority, o.listen_ms,
      coalesce(o.labels, '{}') as labels, coalesce(o.metadata, '{}') as metadata,
      coalesce(o.ttl_ms, q.default_ttl_ms) as ttl_ms, n.line_place, n.next_seq, n.waiting,
      signalbox.place_at(n.order_base, q.priority_head_start_ms, coalesce(o.priority, 0), v_now) as place,
      v_now + signalbox.ms(least(o.max_wait_ms, q.max_wait_ms)) as wait_until,
      row_number() over (partition by o.queue order by o.ordinality) as nth,
      bool_and(
        n.concurrency_limit > 0 and s.taken >= n.concurrency_limit and not s.needs_care
        and (o.mode is null or o.mode = 'wait') and (o.weight is null or o.weight = 1)
        and o.also is null and o.batch is null
        and coalesce(o.ttl_ms, q.default_ttl_ms) <= q.max_ttl_ms and q.lock_delay_ms = 0
        and (o.fresh or (select 1 from signalbox.waiting w where w.claim_id = o.claim_id and w.queue = o.queue) is null)
      ) over (partition by o.queue) as fits, q.max_waiting, count(*) over (partition by o.queue) as asked
    from unnest(p_operations) with ordinality o
    cross join lateral (
      select n.ctid as line_place, n.concurrency_limit, n.waiting, n.next_seq, n.order_base from signalbox.lines n
      where n.queue = o.queue and not n.wide and not n.paused and not n.rotates and not n.cleanup and not n.closed
        and (n.next_due_at is null or n.next_due_at > v_now)
      limit 1) n
    cross join lateral (
      select q.default_ttl_ms, q.max_ttl_ms, q.max_wait_ms, q.max_waiting, q.lock_delay_ms, q.priority_head_start_ms
      from signalbox.queues q where q.queue = o.queue limit 1) q
    cross join lateral (
      select sum(l.weight) filter (where l.state = 'held' or l.free_after > v_now) as taken,
        bool_or(l.state = 'held' and l.expires_at <= v_now or l.claim_id = o.claim_id) as needs_care
      from signalbox.leases l where l.queue = o.queue) s
    where o.op = 'acquire' and o.ordinality - 1 <> all(p_not) and o.queue <> all(p_apart)),
  joining as materialized (
    select c.*, c.next_seq + c.nth - 1 as seq,
      case when coalesce(c.place < least(h.place,
          min(c.place) over (partition by c.queue order by c.nth rows between unbounded preceding and 1 preceding)), true)
        then 'no_free_slot' else 'behind_others' end as waiting_for
    from newcomer c
    left join lateral (
      select w.place from signalbox.waiting w where w.queue = c.queue and w.kind = 'claim'
      order by w.place, w.seq, w.rank limit 1) h on true
    where c.fits and (c.max_waiting is null or c.waiting + c.asked <= c.max_waiting)),
  counted as (
    update signalbox.lines n set waiting = n.waiting + c.joined, next_seq = n.next_seq + c.joined
      from (select j.line_place, count(*) as joined from joining j group by j.line_place) c where n.ctid = c.line_place),
  waits as (
    insert into signalbox.waiting (queue, claim_id, seq, priority, mode, holder, ttl_ms, labels, metadata, enqueued_at, place,
        wait_until)
      select j.queue, j.claim_id, j.seq, j.priority, 'wait', j.holder, j.ttl_ms, j.labels, j.metadata, v_now, j.place,
        j.wait_until
      from joining j),
  heard as (
    insert into signalbox.heard (queue, claim_id, heard_at, listens_until)
      select j.queue, j.claim_id, v_now, v_now + signalbox.ms(coalesce(j.listen_ms, 0)) from joining j
      on conflict (queue, claim_id) do update set heard_at = excluded.heard_at, listens_until = excluded.listens_until),
  told as (
    insert into signalbox.events (at, type, queue, claim_id, data)
      select v_now, 'claim.queued', j.queue, j.claim_id, signalbox.labelled(
        jsonb_build_object('holder', j.holder, 'priority', j.priority, 'waiting_for', j.waiting_for), j.labels)
      from joining j)
  select array_agg((j.item, 'waiting', j.queue, j.claim_id, jsonb_build_object(
      'claim_id', j.claim_id, 'queue', j.queue, 'kind', 'claim', 'attempt', 0, 'state', 'waiting', 'holder', j.holder,
      'ttl_ms', j.ttl_ms, 'priority', j.priority, 'mode', 'wait', 'labels', j.labels, 'metadata', j.metadata,
      'enqueued_at', v_enqueued_at, 'due_at', null))::signalbox_v1.decision)
    into v_decisions from joining j;
  return coalesce(v_decisions, '{}');
end $$;
