-- Gives the turn of a claim or run back that leaves the line unserved: cancelled, superseded, not heard any more. Its like
-- would stand behind turns that nobody takes otherwise. Turns below those that are still in line, or were served, stay where
-- they are, and are remembered until all above them came back too, in whatever order. (At most 100 stretches of them: a
-- debt that is larger after that ends as soon as the rotation has come by.) Under the line's lock.
create or replace function signalbox.return_turn(p_claim signalbox.delayed) returns void
language plpgsql
as $$
declare
  v_rotate_by text;
  v_base bigint;
  v_round bigint;
  v_value text;
  v_turn bigint;
  v_next bigint;
  v_last int8range;
  v_returned int8multirange;
begin
  select q.rotate_by, n.order_base, case p_claim.kind when 'run' then n.run_round else n.claim_round end
    into v_rotate_by, v_base, v_round
    from signalbox.queues q join signalbox.lines n on n.queue = q.queue where q.queue = p_claim.queue;
  if v_rotate_by is null or p_claim.attempts > 0 or p_claim.lapsed_offers > 0 then
    return;
  end if;
  v_value := coalesce(p_claim.labels ->> v_rotate_by, '');
  v_turn := p_claim.place - v_base + p_claim.priority * 1000::bigint;
  select t.next_turn, t.returned into v_next, v_returned from signalbox.turns t
    where t.queue = p_claim.queue and t.kind = p_claim.kind and t.value = v_value for update;
  -- (What joined before the queue rotated has no turn.)
  if v_turn < 0 or v_turn >= v_next or v_next is null then
    return;
  end if;
  v_returned := (v_returned + int8multirange(int8range(v_turn, v_turn + 1000))) * int8multirange(int8range(v_round, null));
  if upper(v_returned) = v_next then
    select r into v_last from unnest(v_returned) r order by r desc limit 1;
    v_next := lower(v_last);
    v_returned := v_returned - int8multirange(v_last);
  elsif (select count(*) from unnest(v_returned)) > 100 then
    v_returned := v_returned - int8multirange((select r from unnest(v_returned) r order by r limit 1));
  end if;
  update signalbox.turns t set next_turn = v_next, returned = v_returned
    where t.queue = p_claim.queue and t.kind = p_claim.kind and t.value = v_value;
end $$;
