-- Why a claim that the queue does not know yet may neither be granted nor wait; null = it may. Under the line's lock.
create or replace function signalbox.refuse_newcomer(
  p_line signalbox.lines, p_settings signalbox.queues, p_item integer, p_operation signalbox.operation
) returns signalbox_v1.decision
language plpgsql
as $$
begin
  if p_line.closed then
    return (p_item, 'queue_closed', p_line.queue, p_operation.claim_id, null)::signalbox_v1.decision;
  elsif coalesce(p_operation.ttl_ms, p_settings.default_ttl_ms) > p_settings.max_ttl_ms then
    return (p_item, 'ttl_too_long', p_line.queue, p_operation.claim_id,
      jsonb_build_object('max_ttl_ms', p_settings.max_ttl_ms))::signalbox_v1.decision;
  end if;
  return null;
end $$;
