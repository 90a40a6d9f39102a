-- Grants runs of one queue to a holder, at most p_max and p_bytes of payload (one always), under the line's lock, in the
-- order of the line: none that stands behind a blocker, none that is too old. Claims that wait come first.
create or replace function signalbox.take_from(
  p_queue text, p_holder text, p_ttl_ms integer, p_max integer, p_bytes bigint
) returns setof signalbox_v1.decision
language plpgsql
as $$
declare
  v_line signalbox.lines;
  v_settings signalbox.queues;
  v_slots record;
  v_claim signalbox.waiting;
  v_run signalbox.runs;
  v_lease signalbox.leases;
  v_taken integer := 0;
  v_bytes bigint := 0;
  v_round bigint;
begin
  select * into v_line from signalbox.lines n where n.queue = p_queue;
  if v_line.paused or v_line.concurrency_limit = 0 or not signalbox.runs_may_pass(v_line)
    or signalbox.quarantine_end(p_queue, signalbox.failover_at()) is not null then
    return;
  end if;
  select * into v_settings from signalbox.queues q where q.queue = p_queue;
  for v_claim in
    select w.* from signalbox.waiting w where w.queue = p_queue and w.kind = 'run'
    order by w.place, w.seq, w.rank limit p_max
  loop
    v_slots := signalbox.count_slots(v_line);
    exit when v_slots.taken >= v_line.concurrency_limit;
    exit when v_line.waiting > 0 and not signalbox.runs_may_pass(v_line);
    exit when signalbox.stands_behind_blocker(v_line, v_claim.place, v_claim.seq, v_claim.rank);
    select * into v_run from signalbox.runs r where r.queue = p_queue and r.claim_id = v_claim.claim_id;
    if v_run.dead_after <= signalbox.clock() then
      perform signalbox.end_waiting(signalbox.in_line(v_claim), 'dead', 'max_age');
      -- It may block those behind it.
      v_round := v_line.run_round;
      select * into v_line from signalbox.lines n where n.queue = p_queue;
      v_line.run_round := v_round;
      continue;
    end if;
    v_bytes := v_bytes + coalesce(octet_length(v_run.payload::text), 0);
    exit when v_bytes > p_bytes;
    delete from signalbox.waiting w where w.claim_id = v_claim.claim_id and w.queue = p_queue;
    v_claim.holder := p_holder;
    v_claim.ttl_ms := least(coalesce(p_ttl_ms, v_settings.default_ttl_ms), v_settings.max_ttl_ms);
    v_lease := signalbox.grant_slot(v_line, v_claim, v_slots.free_slot, v_slots.top_slot, v_slots.newest_token, true,
      v_settings.max_hold_ms);
    insert into signalbox.taken (holder, queue, slot, claim_id, fencing_token)
      values (p_holder, p_queue, v_lease.slot, v_lease.claim_id, v_lease.fencing_token);
    v_taken := v_taken + 1;
    v_line.run_round := signalbox.round_after(v_line.run_round, v_claim.place - v_line.order_base,
      v_claim.priority);
    return next (null, 'taken', p_queue, v_lease.claim_id, signalbox.taken_body(v_lease, v_run))::signalbox_v1.decision;
  end loop;
  if v_taken > 0 then
    update signalbox.lines n
      set runs = n.runs - v_taken, run_round = case when n.rotates then v_line.run_round else n.run_round end
      where n.queue = p_queue;
  end if;
end $$;
