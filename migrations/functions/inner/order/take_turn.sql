-- The next turn of a value of the label that a queue rotates by, 1000 to a round, under the line's lock. Whoever has had no
-- turn for a while begins where the rotation is now: before everybody's next turn, and with nothing saved up.
create or replace function signalbox.take_turn(p_queue text, p_kind text, p_value text) returns bigint
language plpgsql
as $$
declare
  v_round bigint;
  v_next bigint;
begin
  select case p_kind when 'run' then n.run_round else n.claim_round end into v_round
    from signalbox.lines n where n.queue = p_queue;
  insert into signalbox.turns as t (queue, kind, value, next_turn, checked_at)
    values (p_queue, p_kind, p_value, v_round + 1000, signalbox.clock())
    on conflict (queue, kind, value) do update set next_turn = greatest(t.next_turn, v_round) + 1000
    returning next_turn into v_next;
  return v_next - 1000;
end $$;
