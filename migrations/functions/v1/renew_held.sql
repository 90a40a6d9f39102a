-- Renews all leases that a holder has taken, of queues with this prefix, in one call. p_brief: see renew.
create or replace function signalbox_v1.renew_held(
  p_holder text, p_ttl_ms integer, p_prefix text default '', p_brief boolean default false
) returns setof signalbox_v1.decision
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '250ms'
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
begin
  perform signalbox.require_read_committed();
  return query
    select r.* from signalbox_v1.renew((
      select coalesce(jsonb_agg(jsonb_build_object('queue', t.queue, 'claim_id', t.claim_id, 'fencing_token',
        t.fencing_token, 'holder', p_holder, 'ttl_ms', p_ttl_ms, 'shorten', true) order by t.queue, t.slot), '[]')
      from signalbox.taken t where t.holder = p_holder and starts_with(t.queue, p_prefix)),
      p_brief) r;
end $$;
