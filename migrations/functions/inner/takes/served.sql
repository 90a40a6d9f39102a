-- The row that ends one request of a take.
create or replace function signalbox.served(p_more boolean, p_busy boolean, p_repeated boolean)
returns signalbox_v1.decision
language sql immutable
as $$
  select (null, 'served', '', null,
    jsonb_build_object('more', p_more, 'busy', p_busy, 'repeated', p_repeated))::signalbox_v1.decision
$$;
