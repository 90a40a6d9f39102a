-- Moves runs enqueued in users' own transactions into their line: at most p_max, as many as have room there, and about
-- 4 MiB of payloads; the rest stays in the inbox. Or the one of this id, room or not. The line must be locked by an earlier
-- statement. An id that is there already, or remembered, is dropped, and told. Returns how many rows left the inbox. What is
-- ready is refreshed here, because a caller may find nothing else to do; one that does more refreshes it again.
create or replace function signalbox.move_inbox(p_queue text, p_max integer default 100, p_claim_id text default null)
returns integer
language plpgsql
as $$
declare
  v_room integer := p_max;
  v_bytes bigint := 0;
  v_row record;
  v_rows tid[] := '{}';
  v_items jsonb;
  v_payloads json[];
begin
  if p_claim_id is null then
    -- A closed queue takes none: they wait here until it is opened.
    select case when n.closed then 0 else least(p_max, q.max_runs - n.runs - n.delayed) end into v_room
      from signalbox.lines n join signalbox.queues q on q.queue = n.queue where n.queue = p_queue;
    for v_row in
      select i.ctid, octet_length(i.payload::text) as bytes from signalbox.inbox i where i.queue = p_queue
      order by i.queue, i.id limit greatest(0, coalesce(v_room, p_max)) for update skip locked
    loop
      v_bytes := v_bytes + coalesce(v_row.bytes, 0);
      exit when v_bytes > 4194304 and v_rows <> '{}';
      v_rows := v_rows || v_row.ctid;
    end loop;
  else
    v_rows := array(
      select i.ctid from signalbox.inbox i where i.claim_id = p_claim_id and i.queue = p_queue
      order by i.claim_id, i.queue, i.id for update skip locked);
  end if;
  if v_rows = '{}' then
    return 0;
  end if;
  -- Payloads stay what they are, beside the rest: as members of a jsonb they would be parsed and written several times.
  with moved as (
    delete from signalbox.inbox b where b.ctid = any(v_rows) returning b.*),
  numbered as (
    select m.*, row_number() over (order by m.id) as item from moved m)
  select jsonb_agg(jsonb_build_object('item', m.item, 'queue', m.queue, 'claim_id', m.claim_id, 'priority', m.priority,
        'labels', m.labels, 'delay_ms', m.delay_ms, 'max_attempts', m.max_attempts, 'max_age_ms', m.max_age_ms,
        'enqueued_at', m.enqueued_at, 'batch', m.batch, 'batch_rank', m.batch_rank, 'unbounded', p_claim_id is not null) order by m.item),
      array_agg(m.payload order by m.item)
    into v_items, v_payloads from numbered m;
  insert into signalbox.events (at, type, queue, claim_id, data)
    select signalbox.clock(), 'claim.dropped', p.queue, p.claim_id, jsonb_build_object('reason',
      case when signalbox.is_acquired(p.queue, p.claim_id) then 'claim_id_reused' else 'known' end)
    from signalbox.place_runs(v_items, v_payloads) p where p.code = 'known';
  perform signalbox.refresh_ready(p_queue);
  return cardinality(v_rows);
end $$;
