-- The queues of a claim on several, by name.
create or replace function signalbox.queues_of(p_joint jsonb) returns text[]
language sql immutable
as $$
  select array_agg(q.value ->> 'queue' order by q.n) from jsonb_array_elements(p_joint -> 'queues') with ordinality q(value, n)
$$;
