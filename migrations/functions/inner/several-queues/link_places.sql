-- Makes leases that one claim was just granted in several queues one: each names all places, and they end at the same time,
-- the earliest of them. p_places: [{"queue", "slot", "fencing_token", "weight"}], in any order. Gives the row of the claim's own queue.
create or replace function signalbox.link_places(p_joint jsonb, p_places jsonb) returns signalbox.leases
language plpgsql
as $$
declare
  v_lease signalbox.leases;
begin
  update signalbox.leases l
    set joint = p_joint || jsonb_build_object('places', (
          select jsonb_agg(o.value order by o.value ->> 'queue' collate "C") from jsonb_array_elements(p_places) o(value))),
        expires_at = e.expires_at, hold_until = e.hold_until,
        acquired_at = e.acquired_at, renewed_at = e.acquired_at
    from jsonb_to_recordset(p_places) as x(queue text, slot integer),
      (select min(o.expires_at) as expires_at, min(o.hold_until) as hold_until, max(o.acquired_at) as acquired_at
       from jsonb_to_recordset(p_places) as y(queue text, slot integer)
       join signalbox.leases o on o.queue = y.queue and o.slot = y.slot) e
    where l.queue = x.queue and l.slot = x.slot;
  select l.* into v_lease
    from jsonb_to_recordset(p_places) as x(queue text, slot integer)
    join signalbox.leases l on l.queue = x.queue and l.slot = x.slot
    where x.queue = p_joint ->> 'primary';
  return v_lease;
end $$;
