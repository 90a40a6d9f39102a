-- Chooses the lines that a take may be served from, and locks those that nobody else holds: a named queue (waited for, if
-- p_wait), or those with the prefix that have been ready longest, one more than are wanted and 48 at most. stirred: those
-- that something may be about to come into, 16 at most. full: there may be more. busy: somebody else holds some.
create or replace function signalbox.lock_candidates(
  p_queue text, p_prefix text, p_wanted integer, p_wait boolean,
  out candidates text[], out stirred text[], out locked text[], out is_full boolean, out is_busy boolean
)
language plpgsql
as $$
declare
  v_ready record;
begin
  is_full := false;
  is_busy := false;
  if p_queue is not null then
    candidates := array[p_queue];
    stirred := candidates;
  else
    -- Locked here first and let go with the call: of the lines none is waited for, so nobody waits in a circle.
    v_ready := signalbox.lock_ready_queues(p_prefix, least(48, p_wanted + 1));
    is_full := cardinality(v_ready.queues) = least(48, p_wanted + 1);
    is_busy := v_ready.passed_over;
    stirred := signalbox.stirring_queues(p_prefix, 16);
    candidates := v_ready.queues || array(select s from unnest(stirred) s where s <> all(v_ready.queues));
  end if;
  if p_wait then
    locked := array(
      select n.queue from signalbox.lines n where n.queue = any(candidates)
      order by n.queue for no key update of n);
  else
    locked := array(
      select n.queue from signalbox.lines n where n.queue = any(candidates)
      order by n.queue for no key update of n skip locked);
  end if;
  is_busy := is_busy or cardinality(locked) < cardinality(candidates);
end $$;
