-- Leader's chore: old rows of terms (all but the last 1,000), replicas not heard for a day, what takes gave more than an
-- hour ago, batches that began a day ago, and turns that the rotation has passed.
create or replace function signalbox_v1.sweep_registers(p_leader text, p_epoch bigint) returns integer
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '250ms'
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
declare
  v_terms integer;
  v_replicas integer;
  v_takes integer;
  v_batches integer;
  v_turns integer;
  v_taken_by timestamptz := signalbox.clock() - interval '1 hour';
  v_checked_by timestamptz := signalbox.clock() - interval '1 hour';
  v_begun_by timestamptz := signalbox.clock() - interval '1 day';
begin
  perform signalbox.require_term(p_leader, p_epoch);
  delete from signalbox.terms t where t.epoch in (
    select o.epoch from signalbox.terms o where o.epoch <= p_epoch - 1000 order by o.epoch limit 100);
  get diagnostics v_terms = row_count;
  delete from signalbox.replicas r where r.replica_id in (
    select o.replica_id from signalbox.replicas o
    where o.heard_at < signalbox.clock() - interval '1 day' order by o.replica_id limit 100);
  get diagnostics v_replicas = row_count;
  -- One that is being asked for again just now is left for the next round.
  delete from signalbox.takes t where t.ctid = any(array(
    select o.ctid from signalbox.takes o where o.taken_at < v_taken_by order by o.taken_at limit 100
    for update skip locked));
  get diagnostics v_takes = row_count;
  delete from signalbox.batches b where b.ctid = any(array(
    select o.ctid from signalbox.batches o where o.begun_at < v_begun_by order by o.begun_at limit 100
    for update skip locked));
  get diagnostics v_batches = row_count;
  -- Each is looked at once an hour, however many there are. A turn that is being taken just now is left for the next round.
  with looked as materialized (
    select o.ctid, o.next_turn <= coalesce(n.round, o.next_turn) as is_over
    from (select t.ctid, t.* from signalbox.turns t where t.checked_at < v_checked_by order by t.checked_at limit 100
          for update skip locked) o
    left join lateral (
      select case o.kind when 'run' then n.run_round else n.claim_round end as round
      from signalbox.lines n where n.queue = o.queue limit 1) n on true),
  kept as (
    update signalbox.turns t set checked_at = signalbox.clock()
      where t.ctid = any(array(select l.ctid from looked l where not l.is_over)))
  delete from signalbox.turns t where t.ctid = any(array(select l.ctid from looked l where l.is_over));
  get diagnostics v_turns = row_count;
  return v_terms + v_replicas + v_takes + v_batches + v_turns;
end $$;
