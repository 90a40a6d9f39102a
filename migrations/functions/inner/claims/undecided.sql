-- The answer to an operation whose line was not locked: somebody else has it, or there is no such queue (then a late
-- release still learns how its lease ended).
create or replace function signalbox.undecided(
  p_item integer, p_op text, p_queue text, p_claim_id text, p_token bigint
) returns signalbox_v1.decision
language plpgsql
as $$
declare
  v_reason text;
begin
  if exists (select 1 from signalbox.lines n where n.queue = p_queue) then
    return (p_item, 'line_busy', p_queue, p_claim_id, null)::signalbox_v1.decision;
  end if;
  if p_op in ('release', 'return') then
    v_reason := signalbox.ended_token_reason(p_queue, p_claim_id, p_token);
  end if;
  return (p_item, case when v_reason is null then 'queue_not_found' else 'not_released' end, p_queue, p_claim_id,
    jsonb_build_object('reason', v_reason))::signalbox_v1.decision;
end $$;
