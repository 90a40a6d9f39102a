-- A run enqueued from SQL that nobody has moved into its line yet: it will stand behind all that is there.
create or replace function signalbox.inbox_body(p_line signalbox.lines, p_queue text, p_claim_id text) returns jsonb
language plpgsql volatile
as $$
declare
  v_row signalbox.inbox;
  v_run signalbox.delayed;
begin
  select b.* into v_row from signalbox.inbox b
    where b.claim_id = p_claim_id and b.queue = p_queue order by b.claim_id, b.queue, b.id limit 1;
  if not found then
    return null;
  end if;
  v_run := (p_queue, p_claim_id, 'run', 0, v_row.priority, 'wait', '', 30000, 0, v_row.labels, '{}', v_row.enqueued_at, 0,
    case when v_row.delay_ms > 0 then v_row.enqueued_at + signalbox.ms(v_row.delay_ms) end, false, 0, 0, 1, null, null)::signalbox.delayed;
  if v_run.due_at > signalbox.clock() then
    return signalbox.delayed_body(p_line, v_run);
  end if;
  v_run.due_at := null;
  return signalbox.waiting_body(v_run) || jsonb_build_object(
    'position', coalesce(p_line.runs, 0) + 1, 'position_exact', false, 'ahead', coalesce(p_line.runs, 0),
    'queue_depth', coalesce(p_line.runs, 0) + 1,
    'waiting_for', case when coalesce(p_line.runs, 0) > 0 then 'behind_others' else 'taker' end,
    'why', 'enqueued from SQL; it comes into line within about a second', 'estimated_wait_ms', null,
    'blocked_by', '[]'::jsonb, 'earlier_grants', '[]'::jsonb, 'poll_after_ms', 1000);
end $$;
