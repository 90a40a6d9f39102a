-- Whether a run of this queue can be taken now; then the queue is among the ready ones. Call it under the line's lock,
-- after every change that may have made one takeable. (What is no longer ready is found by whoever takes.)
create or replace function signalbox.refresh_ready(p_queue text) returns boolean
language plpgsql
as $$
declare
  v_line signalbox.lines;
begin
  select * into v_line from signalbox.lines n where n.queue = p_queue;
  if v_line.runs = 0 or v_line.paused
    or signalbox.quarantine_end(p_queue, signalbox.failover_at()) is not null
    or (signalbox.count_slots(v_line)).taken >= v_line.concurrency_limit or signalbox.head_is_blocked(v_line)
    or not signalbox.runs_may_pass(v_line) then
    return false;
  end if;
  insert into signalbox.ready_queues (queue, ready_at) values (p_queue, signalbox.clock()) on conflict do nothing;
  return true;
end $$;
