-- How many places of one of its queues a claim on several asked for.
create or replace function signalbox.weight_in(p_joint jsonb, p_queue text) returns integer
language sql immutable
as $$
  select (q.value ->> 'weight')::integer from jsonb_array_elements(p_joint -> 'queues') q(value)
  where q.value ->> 'queue' = p_queue
$$;
