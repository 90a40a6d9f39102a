-- Lets those behind go on where a policy no longer keeps them waiting: under step_around nothing blocks, under wait no dead
-- run does. What blocked stays where it is. Returns how many blocked. Under the line's lock; the caller advances the line.
create or replace function signalbox.lift_blocks(p_queue text, p_policy text) returns integer
language plpgsql
as $$
declare
  v_dead integer := 0;
  v_delayed integer := 0;
  v_blockers integer;
begin
  select n.blockers into v_blockers from signalbox.lines n where n.queue = p_queue;
  if v_blockers = 0 or p_policy = 'stop' then
    return 0;
  end if;
  update signalbox.dead_letters x set blocks = false where x.queue = p_queue and x.blocks;
  get diagnostics v_dead = row_count;
  if p_policy = 'step_around' then
    update signalbox.delayed d set blocks = false where d.queue = p_queue and d.blocks;
    get diagnostics v_delayed = row_count;
  end if;
  update signalbox.lines n set blockers = n.blockers - v_dead - v_delayed where n.queue = p_queue;
  if v_blockers > 0 and v_blockers = v_dead + v_delayed then
    perform signalbox.record_event('queue.unblocked', p_queue, null, '{}');
  end if;
  return v_dead + v_delayed;
end $$;
