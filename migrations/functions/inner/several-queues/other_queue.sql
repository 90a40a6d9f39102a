-- What look says of a claim that has room in its own queue and waits for another one: which, and who is in its way there.
-- Empty = it waits for its own. Reads without locks. As its owner, since the reader of a view calls it.
create or replace function signalbox.other_queue(p_queue text, p_claim_id text) returns jsonb
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_claim signalbox.waiting;
  v_ticket signalbox.waiting;
  v_line signalbox.lines;
  v_other text;
  v_blocked_by jsonb;
begin
  select * into v_claim from signalbox.waiting w where w.claim_id = p_claim_id and w.queue = p_queue;
  select * into v_line from signalbox.lines n where n.queue = p_queue;
  if v_claim.joint is null or not signalbox.has_room(v_line, v_claim.weight, v_claim) then
    return '{}';
  end if;
  foreach v_other in array array_remove(signalbox.queues_of(v_claim.joint), p_queue) loop
    select * into v_ticket from signalbox.waiting w where w.claim_id = p_claim_id and w.queue = v_other;
    select * into v_line from signalbox.lines n where n.queue = v_other;
    if v_ticket.queue is null or not signalbox.has_room(v_line, v_ticket.weight, v_ticket) then
      select b.blocked_by into v_blocked_by from signalbox.blocked_by(v_line) b;
      return jsonb_build_object('waiting_for', 'other_queue', 'waiting_for_queue', v_other, 'blocked_by', v_blocked_by,
        'estimated_wait_ms', null, 'why', format('waits for a place in queue %s, which it asked for as well%s', v_other,
          coalesce('; ' || (v_blocked_by #>> '{0,holder}') || ' holds one', '')));
    end if;
  end loop;
  return '{}';
end $$;
