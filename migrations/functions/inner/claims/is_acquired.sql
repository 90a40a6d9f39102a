-- Whether this id is, or is remembered as, a claim that somebody acquired. Reads without any lock.
create or replace function signalbox.is_acquired(p_queue text, p_claim_id text) returns boolean
language plpgsql stable
as $$
declare
  v_line signalbox.lines;
  v_lease signalbox.leases;
begin
  select * into v_line from signalbox.lines n where n.queue = p_queue;
  if not found then
    return false;
  end if;
  v_lease := signalbox.find_lease(v_line, p_claim_id);
  return coalesce(v_lease.state = 'held' and v_lease.kind = 'claim', false)
    or coalesce((signalbox.find_queued(p_queue, p_claim_id)).kind = 'claim', false)
    or exists (
      select 1 from signalbox.history h join signalbox.queues q on q.queue = h.queue
      where h.queue = p_queue and h.claim_id = p_claim_id and h.final and h.kind = 'claim'
        and h.ended_at > signalbox.clock() - signalbox.ms(q.claim_memory_ms));
end $$;
