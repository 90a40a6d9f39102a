-- Which acquires of a batch ask for a claim that its queue knows from elsewhere than a lease: delayed, a run, a dead
-- letter, in the inbox, or ended not long ago. Call it with the lines locked by an earlier statement. p_varied: queues that have
-- anything delayed, runs or dead letters; p_memory_ms: what the queues remember, at most.
create or replace function signalbox.known_claims(
  p_operations signalbox.operation[], p_varied text[], p_memory_ms integer
) returns integer[]
language plpgsql stable
as $$
declare
  v_now timestamptz := signalbox.clock();
  v_since timestamptz := v_now - signalbox.ms(p_memory_ms);
  -- The days made ahead are left out of the plan like those that are too old: nothing has ended tomorrow.
  v_until timestamptz := v_now + interval '1 day';
begin
  return array(
    select (o.ordinality - 1)::integer
    from unnest(p_operations) with ordinality o
    where o.op = 'acquire' and o.fresh is not true
      and (o.queue = any(p_varied) and (
          (select 1 from signalbox.delayed d where d.claim_id = o.claim_id and d.queue = o.queue limit 1) is not null
          or (select 1 from signalbox.runs r where r.queue = o.queue and r.claim_id = o.claim_id limit 1) is not null
          or (select 1 from signalbox.dead_letters x
            where x.queue = o.queue and x.claim_id = o.claim_id limit 1) is not null)
        or (select 1 from signalbox.inbox b where b.claim_id = o.claim_id and b.queue = o.queue limit 1) is not null
        or exists (
          select 1 from signalbox.history h
          where h.queue = o.queue and h.claim_id = o.claim_id and h.final
            and h.ended_at > v_since and h.ended_at < v_until
            -- Looked for only where there is one.
            and h.ended_at > v_now - signalbox.ms((
              select q.claim_memory_ms from signalbox.queues q where q.queue = o.queue)))));
end $$;
