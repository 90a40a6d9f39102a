-- What a claim on several queues says of the others: `also` in its own queue, `primary` where it only has a ticket or place.
create or replace function signalbox.joint_body(p_joint jsonb, p_queue text) returns jsonb
language sql stable
as $$
  select case
    when p_joint is null then '{}'
    when signalbox.is_elsewhere(p_joint, p_queue) then jsonb_build_object('primary', p_joint -> 'primary')
    else jsonb_build_object('also', (
      select jsonb_agg(q.value order by q.n)
      from jsonb_array_elements(coalesce(p_joint -> 'places', p_joint -> 'queues')) with ordinality q(value, n)
      where q.value ->> 'queue' <> p_queue)) end
$$;
