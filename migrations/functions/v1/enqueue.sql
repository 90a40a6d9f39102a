-- Enqueues a run from SQL, inside the caller's own transaction and at any isolation level: it appears in its queue with the
-- caller's commit and is gone with a rollback. It only writes to the inbox, so it never waits for a queue's lock; the next
-- enqueue, take or cancel there moves the run into its line, or the leader does, within about a second. There it gets its
-- place, and there a claim_id that the queue knows already is dropped. The queue need not exist. Raises 22023 for values
-- that do not fit, and 23505 if the id is that of an acquired claim. (One acquired at the same time is found when the run is
-- moved: then the run is dropped, with event claim.dropped.) (A transaction that has notified cannot be prepared for two-phase commit.)
create or replace function signalbox_v1.enqueue(
  p_queue text, p_claim_id text, p_payload json default null, p_priority integer default 0, p_labels jsonb default '{}',
  p_delay_ms bigint default 0, p_max_attempts integer default null, p_max_age_ms bigint default null,
  p_batch text default null, p_batch_rank integer default null
) returns void
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_name_form constant text := '^[A-Za-z0-9._:/@-]{1,200}$';
  v_fault text := case
    when p_queue is null or p_queue !~ v_name_form or p_queue ~ '^[.]+$'
      then 'p_queue must be 1 to 200 characters of A-Z a-z 0-9 . _ : / @ -, and not dots only'
    when p_claim_id is null or p_claim_id !~ v_name_form or p_claim_id ~ '^[.]+$'
      then 'p_claim_id must be 1 to 200 characters of A-Z a-z 0-9 . _ : / @ -, and not dots only'
    when octet_length(p_payload::text) > 262144 then 'p_payload must not be longer than 262144 bytes'
    when p_priority is null or p_priority not between -1000000 and 1000000
      then 'p_priority must be -1000000 to 1000000'
    when p_labels is null or jsonb_typeof(p_labels) <> 'object' or jsonb_path_exists(p_labels, 'strict $.* ? (@.type() != "string")')
      or (select count(*) > 32 or max(length(l.key)) > 63 or max(length(l.value)) > 200 from jsonb_each_text(
        case jsonb_typeof(p_labels) when 'object' then p_labels else '{}' end) l)
      then 'p_labels must be an object of at most 32 texts, names up to 63 and values up to 200 characters'
    when p_delay_ms is null or p_delay_ms not between 0 and 31536000000 then 'p_delay_ms must be 0 to 31536000000'
    when p_max_attempts not between 1 and 1000 then 'p_max_attempts must be 1 to 1000'
    when p_max_age_ms not between 1000 and 31536000000 then 'p_max_age_ms must be 1000 to 31536000000'
    when length(p_batch) not between 1 and 200 then 'p_batch must be 1 to 200 characters'
    when p_batch_rank is not null and p_batch is null then 'p_batch_rank goes with p_batch only'
    when p_batch_rank not between 0 and 1000000 then 'p_batch_rank must be 0 to 1000000'
    when p_max_age_ms <= p_delay_ms then 'p_max_age_ms must be longer than p_delay_ms, or the run is dead before it is due'
  end;
begin
  if v_fault is not null then
    raise exception 'signalbox: %', v_fault using errcode = '22023';
  end if;
  if signalbox.is_acquired(p_queue, p_claim_id) then
    raise exception 'signalbox: claim % of queue % was acquired; it is no run', p_claim_id, p_queue using errcode = '23505';
  end if;
  insert into signalbox.inbox (queue, claim_id, payload, priority, labels, delay_ms, max_attempts, max_age_ms, enqueued_at,
      batch, batch_rank)
    values (p_queue, p_claim_id, p_payload, p_priority, p_labels, p_delay_ms, p_max_attempts, p_max_age_ms,
      signalbox.clock(), p_batch, p_batch_rank);
  perform pg_notify('signalbox', json_build_object('from', 'sql', 'ready', json_build_array(p_queue))::text);
end $$;
