-- Puts runs into their lines, or delays them, for a whole batch in one statement: [{"item", "queue", "claim_id",
-- "payload" (its JSON text; or all
-- payloads beside them, by item from 1), "priority", "labels", "delay_ms", "max_attempts", "max_age_ms", "enqueued_at", "fresh",
-- "batch", "batch_rank"}].
-- The lines must be locked by an earlier statement. Codes: queued; known (the id is there, or remembered: nothing
-- changes); queue_closed; queue_full. Seq is given here, under the lock, so the order of a line is the order in which runs got here,
-- whatever committed when. The caller refreshes what is ready.
create or replace function signalbox.place_runs(p_items jsonb, p_payloads json[] default null) returns setof signalbox_v1.decision
language plpgsql
as $$
declare
  v_now timestamptz := signalbox.clock();
begin
  return query
  with items as materialized (
    select x.*, coalesce(x.enqueued_at, v_now) as since,
      row_number() over (partition by x.queue collate "C", x.claim_id collate "C" order by x.item) as copy
    from jsonb_to_recordset(p_items) as x(item integer, queue text, claim_id text, payload text, priority integer,
      labels jsonb, delay_ms bigint, max_attempts integer, max_age_ms bigint, enqueued_at timestamptz, fresh boolean,
      unbounded boolean, batch text, batch_rank integer)),
  -- Each item probes by itself (a scalar subquery, limit 1): as joins, planned on empty tables, these would read tables
  -- whole. And nothing below joins items to items: without hash joins that would be the square of their number.
  probed as materialized (
    select i.*, n.place as line_place, n.line, q.settings, (n.line).next_seq, (n.line).runs + (n.line).delayed as runs, q.max_runs, q.default_ttl_ms,
      coalesce(i.max_attempts, q.max_attempts) as attempts_max, coalesce(i.max_age_ms, q.max_age_ms) as age_ms_max,
      case when i.since + signalbox.ms(i.delay_ms) > v_now then i.since + signalbox.ms(i.delay_ms) end as due_at,
      i.copy = 1 and (coalesce(i.fresh, false) or (
        (select 1 from signalbox.waiting w where w.claim_id = i.claim_id and w.queue = i.queue limit 1) is null
        and (select 1 from signalbox.delayed d where d.claim_id = i.claim_id and d.queue = i.queue limit 1) is null
        and (select 1 from signalbox.dead_letters x where x.queue = i.queue and x.claim_id = i.claim_id limit 1) is null
        and (p_payloads is not null
          or (select 1 from signalbox.inbox b where b.claim_id = i.claim_id and b.queue = i.queue limit 1) is null)
        and (select 1 from signalbox.runs r where r.queue = i.queue and r.claim_id = i.claim_id limit 1) is null
        and (signalbox.find_lease(n.line, i.claim_id)).state is distinct from 'held'
        and (select 1 from signalbox.history h where h.queue = i.queue and h.claim_id = i.claim_id and h.final
             and h.ended_at > v_now - signalbox.ms(q.claim_memory_ms) limit 1) is null)) as is_new
    from items i
    cross join lateral (
      select l as line, l.ctid as place from signalbox.lines l where l.queue = i.queue limit 1) n
    cross join lateral (select s.*, s as settings from signalbox.queues s where s.queue = i.queue limit 1) q),
  numbered as (
    select p.*, count(*) filter (where p.is_new) over (partition by p.queue collate "C" order by p.item) as nth
    from probed p),
  decided as materialized (
    select m.*, m.next_seq + m.nth - 1 as seq,
      case when not m.is_new then 'known'
        when (m.line).closed and m.unbounded is not true then 'queue_closed' when m.runs + m.nth > m.max_runs and m.unbounded is not true then 'queue_full'
        else 'queued' end as code
    from numbered m order by m.queue collate "C", m.item),
  -- Places one after another, in the order of arrival: turns are taken, and batches begun.
  placed as materialized (
    select d.*, b.p_place as place, b.p_seq as own_seq, b.p_rank as rank
    from decided d
    cross join lateral (
      select signalbox.place_of(d.line, d.settings, 'run', coalesce(d.priority, 0), d.since, d.labels) as place offset 0) o
    cross join lateral signalbox.join_batch(d.queue, 'run', case when (d.settings).rotate_by is null then d.batch end,
      d.batch_rank, o.place, d.seq) b
    where d.code = 'queued'),
  in_line as (
    insert into signalbox.waiting (queue, claim_id, kind, seq, priority, mode, holder, ttl_ms, labels, enqueued_at,
        place, rank)
      select p.queue, p.claim_id, 'run', p.own_seq, coalesce(p.priority, 0), 'wait', '', p.default_ttl_ms,
        coalesce(p.labels, '{}'), p.since, p.place, p.rank
      from placed p where p.due_at is null),
  later as (
    insert into signalbox.delayed (queue, claim_id, kind, seq, priority, mode, holder, ttl_ms, lapsed_offers, labels,
        metadata, enqueued_at, attempts, due_at, blocks, place, rank)
      select p.queue, p.claim_id, 'run', p.own_seq, coalesce(p.priority, 0), 'wait', '', p.default_ttl_ms, 0,
        coalesce(p.labels, '{}'), '{}', p.since, 0, p.due_at, false, p.place, p.rank
      from placed p where p.due_at is not null),
  carried as (
    insert into signalbox.runs (queue, claim_id, payload, max_attempts, max_age_ms, dead_after)
      select p.queue, p.claim_id, coalesce(p_payloads[p.item], p.payload::json), p.attempts_max, p.age_ms_max, p.since + signalbox.ms(p.age_ms_max)
      from placed p),
  counted as (
    update signalbox.lines l
      set runs = l.runs + c.in_line, delayed = l.delayed + c.later, next_seq = l.next_seq + c.in_line + c.later,
          next_due_at = least(l.next_due_at, c.due_at)
      from (select p.line_place as place, count(*) filter (where p.due_at is null) as in_line,
              count(*) filter (where p.due_at is not null) as later, min(p.due_at) as due_at
            from placed p group by p.line_place) c
      where l.ctid = c.place),
  told as (
    insert into signalbox.events (at, type, queue, claim_id, data)
      select v_now, case when p.due_at is null then 'claim.queued' else 'claim.delayed' end, p.queue, p.claim_id,
        signalbox.labelled(jsonb_strip_nulls(jsonb_build_object('kind', 'run', 'priority', coalesce(p.priority, 0),
          'due_at', signalbox.rfc3339(p.due_at))), coalesce(p.labels, '{}'))
      from placed p)
  select d.item, d.code, d.queue, d.claim_id,
    case d.code when 'queued' then jsonb_build_object(
        'claim_id', d.claim_id, 'queue', d.queue, 'kind', 'run',
        'state', case when d.due_at is null then 'waiting' else 'delayed' end, 'priority', coalesce(d.priority, 0),
        'labels', coalesce(d.labels, '{}'), 'attempts', 0, 'max_attempts', d.attempts_max,
        'enqueued_at', signalbox.rfc3339(d.since), 'due_at', signalbox.rfc3339(d.due_at),
        'due_in_ms', case when d.due_at is not null then signalbox.ms_until(d.due_at, v_now) end)
      when 'queue_full' then jsonb_build_object('max_runs', d.max_runs) end
  from decided d;
end $$;
