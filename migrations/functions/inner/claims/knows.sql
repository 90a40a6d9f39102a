-- Whether there is a claim or run of this id, or was one that is remembered.
create or replace function signalbox.knows(p_line signalbox.lines, p_claim_id text) returns boolean
language plpgsql stable
as $$
begin
  return (signalbox.find_lease(p_line, p_claim_id)).state is not distinct from 'held'
    or (signalbox.find_queued(p_line.queue, p_claim_id)).queue is not null
    or (select 1 from signalbox.dead_letters x where x.queue = p_line.queue and x.claim_id = p_claim_id) is not null
    or (select 1 from signalbox.inbox b where b.claim_id = p_claim_id and b.queue = p_line.queue limit 1) is not null
    or signalbox.ended_claim_now(p_line, p_claim_id) is not null;
end $$;
