-- What is kept with every row of a claim on several queues (see loose_ends), queues by name; null for a claim on one.
create or replace function signalbox.joint_of(p_queue text, p_weight integer, p_also jsonb) returns jsonb
language sql stable
as $$
  select jsonb_build_object('primary', p_queue, 'queues', jsonb_agg(
      jsonb_build_object('queue', a.queue, 'weight', coalesce(a.weight, 1)) order by a.queue collate "C"))
  from (select p_queue as queue, p_weight as weight union all
        select x.queue, x.weight from jsonb_to_recordset(p_also) as x(queue text, weight integer)) a
  where jsonb_array_length(p_also) > 0
  having count(*) > 1
$$;
