-- The usual renewals, for a whole batch: a lease that is held under the item's claim and token (by its holder, where one
-- is named), has not reached its hold bound, and is asked for no longer than its queue allows. What does not fit gets no
-- decision here and is decided one by one; so is, afterwards, the second of two items about one lease. A claim on several
-- queues is one item of its own queue, and has all of its places renewed. p_items: of renew.
create or replace function signalbox.renew_fitting(p_items jsonb) returns signalbox_v1.decision[]
language plpgsql
as $$
declare
  v_places tid[];
  v_items integer[];
  v_ttls integer[];
  v_sizes integer[]; -- how many places of the same claim are to be renewed together
  v_untils timestamptz[]; -- when each would have run out
  v_now timestamptz;
  v_decisions signalbox_v1.decision[];
begin
  -- Lock in this statement, update in the next: so the new expiry counts from after any wait, and the rows are where they
  -- were locked. Each item looks up its own rows (lateral, limit), which are locked in the order of the outer ones, and
  -- the update goes by ctid: joined, a plan cached on small tables would read all leases when there are many.
  select array_agg(l.place), array_agg(s.item), array_agg(s.ttl_ms), array_agg(l.expires_at),
      array_agg(s.size)
    into v_places, v_items, v_ttls, v_untils, v_sizes
    from (
      select distinct on (p.queue collate "C", p.slot)
        (x.ordinality - 1)::integer as item, p.queue, x.claim_id, p.fencing_token, x.holder,
        case when x.shorten then least(x.ttl_ms, q.max_ttl_ms) else x.ttl_ms end as ttl_ms, p.slot, p.size
      from rows from (jsonb_to_recordset(p_items) as (queue text, claim_id text, fencing_token bigint, ttl_ms integer,
        holder text, shorten boolean)) with ordinality x
      cross join lateral (select n.wide from signalbox.lines n where n.queue = x.queue limit 1) n
      cross join lateral (
        (select l.slot, l.joint from signalbox.leases l
         where not n.wide and l.queue = x.queue and l.claim_id = x.claim_id and l.fencing_token = x.fencing_token
           and l.state = 'held' limit 1)
        union all
        (select w.slot, (select l.joint from signalbox.leases l where l.queue = x.queue and l.slot = w.slot)
         from signalbox.wide_slots w
         where n.wide and w.queue = x.queue and w.claim_id = x.claim_id limit 1)) o
      cross join lateral (
        select x.queue, o.slot, x.fencing_token, 1 as size where o.joint is null
        union all
        select y.queue, y.slot, y.fencing_token, jsonb_array_length(o.joint -> 'places')
        from jsonb_to_recordset(o.joint -> 'places') as y(queue text, slot integer, fencing_token bigint)
        where o.joint ->> 'primary' = x.queue) p
      left join lateral (
        select q.max_ttl_ms from signalbox.queues q where x.ttl_ms is not null and q.queue = p.queue limit 1) q on true
      where x.ttl_ms is null or x.shorten or x.ttl_ms <= q.max_ttl_ms
      order by p.queue collate "C", p.slot, x.ordinality) s
    cross join lateral (
      select l.ctid as place, l.expires_at from signalbox.leases l
      where l.queue = s.queue and l.slot = s.slot and l.state = 'held' and l.claim_id = s.claim_id
        and l.fencing_token = s.fencing_token and l.holder = coalesce(s.holder, l.holder)
      for no key update) l;
  if v_places is null then
    return '{}';
  end if;
  if 1 < any(v_sizes) then
    -- All places of a claim, or none.
    select coalesce(array_agg(f.place), '{}'), array_agg(f.item), array_agg(f.ttl_ms), array_agg(f.until_at)
      into v_places, v_items, v_ttls, v_untils
      from (
        select u.*, count(*) over (partition by u.item) as had
        from unnest(v_places, v_items, v_ttls, v_untils, v_sizes) u(place, item, ttl_ms, until_at, size)) f
      where f.had = f.size;
  end if;

  v_now := signalbox.clock();
  with renewed as (
    update signalbox.leases l
      set renewed_at = v_now, ttl_ms = coalesce(f.ttl_ms, l.ttl_ms), offered = false,
          expires_at = greatest(l.expires_at,
            least(l.hold_until, v_now + signalbox.ms(coalesce(f.ttl_ms, l.ttl_ms))))
      from unnest(v_places, v_items, v_ttls) f(place, item, ttl_ms)
      where l.ctid = f.place and (l.hold_until is null or l.hold_until > v_now)
      returning f.item, l.queue, l.claim_id, l.fencing_token, l.slot, l.release_requested, l.expires_at, l.joint)
  select array_agg((r.item, 'renewed', r.queue, r.claim_id,
      signalbox.renewed_body(r.fencing_token, r.slot, r.release_requested, v_now, r.expires_at))::signalbox_v1.decision)
    into v_decisions from renewed r where not signalbox.is_elsewhere(r.joint, r.queue);
  if v_now >= any(v_untils) then
    perform signalbox.tell_late_renewal(l.lease, f.expired_at, v_now)
      from (select distinct u.item, u.expired_at from unnest(v_items, v_untils) u(item, expired_at)) f
      join unnest(v_decisions) d on d.item = f.item
      cross join lateral (
        select l as lease from signalbox.leases l
        where l.queue = d.queue and l.slot = (d.body -> 'slot')::integer limit 1) l
      where f.expired_at <= v_now;
  end if;
  return coalesce(v_decisions, '{}');
end $$;
