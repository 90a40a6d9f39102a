-- Asks whoever called to let these lines advance right away, together: they could not be had, or what ended here has left
-- something for them. Nothing is lost if nobody does: the next decision, watch or sweep finds it.
create or replace function signalbox.stir(p_queues text[]) returns signalbox_v1.decision
language sql stable
as $$
  select (null, 'stir', p_queues[1], null, jsonb_build_object('queues', p_queues))::signalbox_v1.decision
$$;
